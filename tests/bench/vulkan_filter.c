// A Vulkan driver that is another driver with all graphics cards but one left out: pins a process that lets no card be
// chosen (Dawn in Node) to one of several equal ones where card_pinning.ts may not hide the others' files.
//   cc -shared -fPIC -O1 -o /tmp/filter/libweft_icd.so tests/bench/vulkan_filter.c -ldl
//   json='{"file_format_version":"1.0.0","ICD":{"library_path":"/tmp/filter/libweft_icd.so","api_version":"1.3.0"}}'
//   echo "$json" > /tmp/filter/weft_icd.json
//   VK_DRIVER_FILES=/tmp/filter/weft_icd.json WEFT_GPU_INDEX=1 weft render ...
// WEFT_VK_DRIVER names the real driver's library, by default NVIDIA's.
// Interface: Vulkan-Loader, docs/LoaderDriverInterface.md.
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef Function (*GetProcAddr)(void *instance, const char *name);
typedef int32_t (*Negotiate)(uint32_t *version);
typedef int32_t (*Enumerate)(void *instance, uint32_t *count, void **devices);

enum { SUCCESS = 0, INCOMPLETE = 5, INITIALIZATION_FAILED = -3, MAX_DEVICES = 64 };

static Function real(const char *name) {
    static void *driver;
    if (driver == NULL) {
        const char *path = getenv("WEFT_VK_DRIVER");
        driver = dlopen(path ? path : "libGLX_nvidia.so.0", RTLD_NOW | RTLD_LOCAL);
    }
    return driver ? (Function)dlsym(driver, name) : NULL;
}

static int32_t enumerate(void *instance, uint32_t *count, void **devices) {
    GetProcAddr get = (GetProcAddr)real("vk_icdGetInstanceProcAddr");
    Enumerate all = get ? (Enumerate)get(instance, "vkEnumeratePhysicalDevices") : NULL;
    if (all == NULL) return INITIALIZATION_FAILED;
    void *found[MAX_DEVICES];
    uint32_t num = MAX_DEVICES;
    int32_t result = all(instance, &num, found);
    if (result != SUCCESS && result != INCOMPLETE) return result;
    const char *wanted = getenv("WEFT_GPU_INDEX");
    uint32_t index = wanted ? (uint32_t)atoi(wanted) : 0;
    if (index >= num) {
        *count = 0;
        return SUCCESS;
    }
    if (devices != NULL) {
        if (*count == 0) return INCOMPLETE;
        devices[0] = found[index];
    }
    *count = 1;
    return SUCCESS;
}

Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    if (strcmp(name, "vkEnumeratePhysicalDevices") == 0) return (Function)enumerate;
    GetProcAddr get = (GetProcAddr)real("vk_icdGetInstanceProcAddr");
    return get ? get(instance, name) : NULL;
}

Function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
    GetProcAddr get = (GetProcAddr)real("vk_icdGetPhysicalDeviceProcAddr");
    return get ? get(instance, name) : NULL;
}

int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
    Negotiate negotiate = (Negotiate)real("vk_icdNegotiateLoaderICDInterfaceVersion");
    return negotiate ? negotiate(version) : INITIALIZATION_FAILED;
}
