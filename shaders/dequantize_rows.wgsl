// out[r, c] = x[r, c] * scale[r, c / share],  share = columns / shares
//
// x      [rows, columns] int8, four in a u32, the first one lowest
// scale  [rows, shares] f32: one for each of the equal shares of a row
// out    [rows, columns] elem
//
// One thread takes four columns. Precondition (op): a share is a multiple of 4.
// Undoes quantize_rows. Matches `x.float() * scale` in torch, with x viewed as [rows, shares, share].

#import shared/element_index

struct Params {
    count4: u32,
    /// A quarter of a share.
    share4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<elem>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i < params.count4 {
        out[i] = vec4<elem>(vec4<f32>(unpack4xI8(x[i])) * scale[i / params.share4]);
    }
}
