// out = c0 x0 + c1 x1 + c2 x2 + c3 x3 + c4 x4, element by element
//
// x0 .. x4, out  [count] f32; unused inputs have coefficient 0 and may be bound to any input
//
// One thread takes one element. A coefficient of 0 skips its input, so that what is not
// used may hold anything, also NaN. Schedulers and guiders are nothing but this kernel with their coefficients.

#import shared/element_index

struct Params {
    count: u32,
    c: vec4<f32>,
    c4: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read> x2: array<f32>;
@group(0) @binding(4) var<storage, read> x3: array<f32>;
@group(0) @binding(5) var<storage, read> x4: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i >= params.count {
        return;
    }
    var sum = 0.0;
    if params.c.x != 0.0 { sum += params.c.x * x0[i]; }
    if params.c.y != 0.0 { sum += params.c.y * x1[i]; }
    if params.c.z != 0.0 { sum += params.c.z * x2[i]; }
    if params.c.w != 0.0 { sum += params.c.w * x3[i]; }
    if params.c4 != 0.0 { sum += params.c4 * x4[i]; }
    out[i] = sum;
}
