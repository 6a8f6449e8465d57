// A Linear weight [n, k], stored as unsigned bytes with one f16 scale and bias per 64 columns: w = q * scale + bias
// (MLX's affine mode). Expects: params.k, a multiple of 64.
@group(0) @binding(4) var<storage, read> weight: array<u32>;
@group(0) @binding(5) var<storage, read> weight_scale_bias: array<u32>;

// Four neighbours as they are stored, and their scale and bias.
alias packed_weight = vec2<u32>;

fn fetch_weight(row: u32, k4: u32) -> packed_weight {
    return vec2<u32>(
        weight[row * (params.k / 4u) + k4], weight_scale_bias[row * (params.k / 64u) + k4 / 16u],
    );
}

fn widen_weight(packed: packed_weight) -> vec4<f32> {
    let scale_bias = unpack2x16float(packed.y);
    return vec4<f32>(unpack4xU8(packed.x)) * scale_bias.x + scale_bias.y;
}
