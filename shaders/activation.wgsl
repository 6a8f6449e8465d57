// out = activation(x), element by element.
//
// x, out  [4 * count4] elem
//
// One thread takes four elements; arithmetic is f32. Precondition (op): the last axis is a multiple of 4.

#import shared/activation
#import shared/element_index

struct Params {
    count4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<elem>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i < params.count4 {
        out[i] = vec4<elem>(activate(vec4<f32>(x[i])));
    }
}
