// Eight neighbouring weights of a Linear weight [n, k] as packed f16, stored as unsigned bytes with one f16 scale and
// bias per 64 columns (as in weight_int8), k a multiple of 64.
@group(0) @binding(4) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> weight_scale_bias: array<u32>;

// As they are stored, and their scale and bias.
alias packed_weight8 = vec3<u32>;

// at8: row * (k / 8) + column / 8.
fn fetch_weight8(at8: u32) -> packed_weight8 {
    return vec3<u32>(weight[at8], weight_scale_bias[at8 / 8u]);
}

fn staged_weight(packed: packed_weight8) -> vec4<u32> {
    let scale_bias = unpack2x16float(packed.z);
    let low = vec4<f32>(unpack4xU8(packed.x)) * scale_bias.x + scale_bias.y;
    let high = vec4<f32>(unpack4xU8(packed.y)) * scale_bias.x + scale_bias.y;
    return vec4<u32>(
        pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw),
    );
}
