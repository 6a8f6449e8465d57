// out[r, c] = x[r, c] / sqrt(mean_c(x[r, c]^2) + eps) * weight[c]
//
// x       [rows, columns] x_elem
// weight  [columns] f32
// out     [rows, columns] elem
//
// One workgroup takes one row; the mean of squares is f32. Precondition (op): columns is a multiple of 4.
// Matches diffusers' RMSNorm (attn.norm_q, norm_k over all heads) and UMT5LayerNorm.

#import shared/reduce_row

struct Params {
    rows: u32,
    columns: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<x_elem>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<elem>>;

@compute @workgroup_size(ROW_THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows {
        return;
    }
    let columns4 = params.columns / 4u;
    let start = row * columns4;

    var squares = vec4<f32>();
    for (var c = local; c < columns4; c += ROW_THREADS) {
        let value = vec4<f32>(x[start + c]);
        squares += value * value;
    }
    let mean = reduce_row(dot(squares, vec4<f32>(1.0)), local) / f32(params.columns);
    let factor = inverseSqrt(mean + params.eps);

    for (var c = local; c < columns4; c += ROW_THREADS) {
        out[start + c] = vec4<elem>(vec4<f32>(x[start + c]) * factor * weight[c]);
    }
}
