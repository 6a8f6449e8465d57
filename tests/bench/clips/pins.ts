// Which ways to pin a process to one of several equal graphics cards work under Vulkan: each is tried in a process that
// takes some gigabytes, while nvidia-smi says on which card they are.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { type Command, hideCards, UNSHARE_MOUNTS } from "../../../src/cli/card_pinning.ts";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { listCards } from "../../../src/cli/graphics_cards.ts";
import { requestAdapter } from "../../../src/gpu/gpu.ts";
import filterSource from "../vulkan_filter.c?raw";

/** A way to pin. */
export type Pin = "none" | "filter" | "mount" | "cuda_visible_devices" | "nvidia_visible_devices";

/** All ways; "filter" is tests/bench/vulkan_filter.c, see `buildFilter`. The most promising ones first. */
const PINS: readonly Pin[] = ["filter", "mount", "none", "cuda_visible_devices", "nvidia_visible_devices"];

/** Reads the name of a way. */
export function parsePin(name: string): Pin {
  const pin = PINS.find((each) => each === name);
  if (pin === undefined) throw new Error(`A way to pin is one of ${PINS.join(", ")}, not ${name}.`);
  return pin;
}

/** Where the driver that shows one card is built. */
const FILTER_DIR = process.env["WEFT_FILTER_DIR"] ?? "/tmp/filter";
const FILTER_MANIFEST = `${FILTER_DIR}/weft_icd.json`;

/** Compiles the driver that shows one card, in front of the driver that this machine has. */
export function buildFilter(): void {
  mkdirSync(FILTER_DIR, { recursive: true });
  const [library, source] = [`${FILTER_DIR}/libweft_icd.so`, `${FILTER_DIR}/vulkan_filter.c`];
  writeFileSync(source, filterSource);
  execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], { stdio: "inherit" });
  const driver = realDriver();
  const icd = { library_path: library, api_version: driver?.api_version ?? "1.3.0" };
  writeFileSync(FILTER_MANIFEST, JSON.stringify({ file_format_version: "1.0.0", ICD: icd }));
  if (driver) process.env["WEFT_VK_DRIVER"] ??= driver.library_path;
}

interface VulkanDriver {
  readonly library_path: string;
  readonly api_version: string;
}

/** NVIDIA's driver by its manifest; undefined without one. */
function realDriver(): VulkanDriver | undefined {
  const named = (process.env["VK_DRIVER_FILES"] ?? process.env["VK_ICD_FILENAMES"] ?? "").split(":");
  const found = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"].flatMap(
    (folder) => {
      try {
        return readdirSync(folder).map((name) => `${folder}/${name}`);
      } catch {
        return [];
      }
    },
  );
  const manifest = [...named, ...found].find((path) => /nvidia.*\.json$/.test(path));
  if (manifest === undefined) return undefined;
  return (JSON.parse(readFileSync(manifest, "utf8")) as { ICD: VulkanDriver }).ICD;
}

/** A command that runs `args` with this Node on card `index`. */
export function pinned(pin: Pin, index: number, args: readonly string[]): Command {
  const node: Command = { file: process.execPath, args, env: process.env };
  const withEnv = (env: NodeJS.ProcessEnv): Command => ({ ...node, env: { ...node.env, ...env } });
  switch (pin) {
    case "none":
      return node;
    case "filter": {
      return withEnv({
        VK_DRIVER_FILES: FILTER_MANIFEST,
        VK_ICD_FILENAMES: FILTER_MANIFEST,
        WEFT_GPU_INDEX: String(index),
      });
    }
    case "mount": {
      const cards = listCards();
      const others = cards.filter(({ number }) => number !== index);
      if (others.length === cards.length)
        throw new Error(`There is no card ${index} here, of ${cards.length}.`);
      return hideCards(node, others, UNSHARE_MOUNTS);
    }
    case "cuda_visible_devices":
      return withEnv({ CUDA_VISIBLE_DEVICES: String(index) });
    case "nvidia_visible_devices":
      return withEnv({ NVIDIA_VISIBLE_DEVICES: String(index) });
  }
}

const HELD_BUFFERS = 8;
const BUFFER_BYTES = 2 ** 28;
const HOLD_MS = 15_000;

/** One try of a way. */
interface PinResult {
  readonly pin: Pin;
  readonly index: number;
  /** Cards whose memory has grown by about what the process holds; one, and the wanted one, is what is looked for. */
  readonly cards: string;
  readonly works: boolean;
  readonly says: string;
}

/** Time that a try may take. */
const TRY_MS = 25_000;

/** Tries every way, or those named, on the first two cards; prints each try as it ends. */
export async function probePins(names: readonly string[]): Promise<void> {
  const pins = names.length > 0 ? names.map(parsePin) : PINS;
  const memory = cardMemory();
  if (memory.length === 0) console.error("nvidia-smi does not answer, so nobody can say which card is used.");
  console.log(
    `device files: ${listCards()
      .map(({ file }) => file)
      .join(", ")}; memory by nvidia-smi: ${memory.join(", ")} MiB`,
  );
  const results: PinResult[] = [];
  for (const pin of pins) {
    for (const index of [0, 1]) {
      const result = await tryPin(pin, index);
      results.push(result);
      console.log(JSON.stringify(result));
    }
  }
  console.table(results, ["pin", "index", "cards", "works"]);
  const working = pins.filter((pin) => results.every((each) => each.pin !== pin || each.works));
  console.log(working.length > 0 ? `These ways work: ${working.join(", ")}.` : "No way works.");
}

async function tryPin(pin: Pin, index: number): Promise<PinResult> {
  const before = cardMemory();
  const held = (HELD_BUFFERS * BUFFER_BYTES) / 2 ** 20;
  let says = "";
  let found: number[] = [];
  try {
    if (pin === "filter") buildFilter();
    const { file, args, env } = pinned(pin, index, [process.argv[1] ?? "", "pin-probe"]);
    const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const timeout = setTimeout(() => child.kill("SIGKILL"), TRY_MS);
    let isRead = false;
    const read = (data: Buffer): void => {
      says += data.toString();
      if (isRead || !says.includes("holding")) return;
      isRead = true;
      found = cardMemory().flatMap((used, card) => (used - (before[card] ?? 0) > held / 2 ? [card] : []));
      child.kill("SIGKILL");
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    await new Promise<void>((resolve) => {
      child.on("close", () => resolve());
      child.on("error", (error) => {
        says += error.message;
        resolve();
      });
    });
    clearTimeout(timeout);
  } catch (error) {
    says += error instanceof Error ? error.message : String(error);
  }
  const works = found.length === 1 && found[0] === index;
  return {
    pin,
    index,
    cards: found.join(", "),
    works,
    says: says.trim().replaceAll("\n", " | ").slice(-300),
  };
}

/** MiB in use of every card, by nvidia-smi; none where it cannot say. */
export function cardMemory(): number[] {
  try {
    const query = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"];
    return execFileSync("nvidia-smi", query, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      .trim()
      .split("\n")
      .map(Number);
  } catch {
    return [];
  }
}

/** Holds memory on whatever card this process gets. */
export async function holdMemory(): Promise<void> {
  const adapter = await requestAdapter(startDawn());
  const device = await adapter.requestDevice();
  const usage = 0x80 | 0x08; // STORAGE | COPY_DST
  const buffers = Array.from({ length: HELD_BUFFERS }, () =>
    device.createBuffer({ size: BUFFER_BYTES, usage }),
  );
  const encoder = device.createCommandEncoder();
  for (const buffer of buffers) encoder.clearBuffer(buffer);
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  console.log(`${adapter.info.description} opened ${openCards().join(" ")} holding`);
  await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
}

/** The card files that this process has open. */
function openCards(): string[] {
  const targets = readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  return [...new Set(targets.filter((target) => /^\/dev\/nvidia\d+$/.test(target)))];
}
