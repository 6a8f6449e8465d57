// out[g, c] = integer[g, c] * scale[g]
//
// x    u32: of every frame first the scales, f32, then the integers, four int8 in one, the first one lowest
// out  [groups, 4 group4] elem: neighbours in a row share a group, and groups of one frame follow each other
//
// One thread takes four numbers. A launch takes frames that follow each other in out.
// Precondition (op): the launch takes whole frames, and those before `first` are, too.
// Undoes quantize_frames. Matches `x.float() * scale` in torch, with x viewed as [groups, group].

#import shared/element_index

struct Params {
    /// Of the launch.
    count4: u32,
    groups_per_frame: u32,
    /// A quarter of a group.
    group4: u32,
    /// First group of x, and its place among the groups of out.
    first: u32,
    to: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<elem>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i >= params.count4 {
        return;
    }
    let group4 = params.group4;
    let place = params.first + i / group4;
    let of_frame = place % params.groups_per_frame;
    let scales = (place - of_frame) * (1u + group4);
    let scale = bitcast<f32>(x[scales + of_frame]);
    let integers = x[scales + params.groups_per_frame + of_frame * group4 + i % group4];
    out[params.to * group4 + i] = vec4<elem>(vec4<f32>(unpack4xI8(integers)) * scale);
}
