// out[i] = sum over j < 8 of r_j, where r_j begins at x[i] + j and `rounds` times becomes scale * r_j + shift
//
// x, out  [count4] vec4<elem>
//
// One thread takes four elements and keeps eight independent vec4 in registers: nothing but multiply-adds, so their
// speed is the most that any kernel of this element type can reach on the device. Scale and shift are vectors: with one
// scalar for a pair of f16 an H200 is half as fast. What is computed does not matter;
// with scale -1 and shift 1 the numbers stay as they are every second round, exactly, and no compiler knows.
// Preconditions (op): rounds is a multiple of 4, which are written out to make the loop's own work small.

#import shared/element_index

struct Params {
    count4: u32,
    rounds: u32,
    scale: vec4<f32>,
    shift: vec4<f32>,
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
    if i >= params.count4 {
        return;
    }
    let scale = vec4<elem>(params.scale);
    let shift = vec4<elem>(params.shift);
    #repeat j 8
    var r_$j = x[i] + vec4<elem>(elem($j));
    #end
    for (var round = 0u; round < params.rounds; round += 4u) {
        #repeat turn 4
        #repeat j 8
        r_$j = fma(r_$j, scale, shift);
        #end
        #end
    }
    out[i] = ((r_0 + r_1) + (r_2 + r_3)) + ((r_4 + r_5) + (r_6 + r_7));
}
