// out[r, c] = (x[r, c] - mean_r) / sqrt(var_r + eps) * scale[c] + shift[c]
//
// x             [rows, columns] f32 (the residual stream)
// scale, shift  [columns] f32: an affine norm's weight and bias, or 1 + scale and shift of AdaLN modulation
// out           [rows, columns] elem
//
// One workgroup takes one row; mean and variance are f32, in two passes over the row (the one-pass form cancels).
// Precondition (op): columns is a multiple of 4.
// Matches torch.nn.LayerNorm, and FP32LayerNorm followed by modulation in diffusers' WanTransformerBlock.

#import shared/reduce_row

struct Params {
    rows: u32,
    columns: u32,
    eps: f32,
    /// Where scale and shift begin in their buffers, in elements; a multiple of 4.
    scale_offset: u32,
    shift_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<elem>>;

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

    var sum = vec4<f32>();
    for (var c = local; c < columns4; c += ROW_THREADS) {
        sum += x[start + c];
    }
    let mean = reduce_row(dot(sum, vec4<f32>(1.0)), local) / f32(params.columns);

    var squares = vec4<f32>();
    for (var c = local; c < columns4; c += ROW_THREADS) {
        let centred = x[start + c] - mean;
        squares += centred * centred;
    }
    let variance = reduce_row(dot(squares, vec4<f32>(1.0)), local) / f32(params.columns);
    let factor = inverseSqrt(variance + params.eps);

    for (var c = local; c < columns4; c += ROW_THREADS) {
        let normal = (x[start + c] - mean) * factor;
        out[start + c] = vec4<elem>(normal * scale[params.scale_offset / 4u + c] + shift[params.shift_offset / 4u + c]);
    }
}
