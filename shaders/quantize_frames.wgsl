// scale[g] = max |x of group g| / 127;  integer = round(x / scale of its group)
//
// x    [groups, 4 group4] elem: neighbours in a row share a group, and groups of one frame follow each other
// out  u32: of every frame first the scales, f32, then the integers, four int8 in one, the first one lowest
//
// A workgroup takes GROUPS groups, each with LANES threads side by side; halves are rounded to even. If all are zero,
// the scale is the smallest normal number, and the integers are 0. A launch takes frames that follow each other in x.
// Preconditions (op): groups is whole frames; the groups before `to` are, too; LANES is a power of two.
// Matches torch's symmetric quantisation per group to int8 of -127 to 127, in the layout of src/dit/int8_frames.ts.

struct Params {
    /// Of the launch.
    groups: u32,
    groups_per_frame: u32,
    /// A quarter of a group.
    group4: u32,
    /// First group of x, and its place among the groups of out.
    first: u32,
    to: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

const SMALLEST = 1.17549435e-38;
const THREADS = GROUPS * LANES;

var<workgroup> largest: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local % LANES;
    let group = (workgroup.y * workgroups.x + workgroup.x) * GROUPS + local / LANES;
    let group4 = params.group4;
    let start = (params.first + min(group, params.groups - 1u)) * group4;

    var largest4 = vec4<f32>();
    for (var c = lane; c < group4; c += LANES) {
        largest4 = max(largest4, abs(vec4<f32>(x[start + c])));
    }
    largest[local] = max(max(largest4.x, largest4.y), max(largest4.z, largest4.w));
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if lane < half {
            largest[local] = max(largest[local], largest[local + half]);
        }
    }
    workgroupBarrier();
    if group >= params.groups {
        return;
    }
    let step = max(largest[local - lane] / 127.0, SMALLEST);

    let of_frame = (params.to + group) % params.groups_per_frame;
    let scales = (params.to + group - of_frame) * (1u + group4);
    let integers = scales + params.groups_per_frame + of_frame * group4;
    for (var c = lane; c < group4; c += LANES) {
        out[integers + c] = pack4xI8(vec4<i32>(round(vec4<f32>(x[start + c]) / step)));
    }
    if lane == 0u {
        out[scales + of_frame] = bitcast<u32>(step);
    }
}
