// Eight neighbours of a Linear weight [n, k] as packed f16, stored as f32, k a multiple of 8.
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;

struct packed_weight8 {
    low: vec4<f32>,
    high: vec4<f32>,
}

// at8: row * (k / 8) + column / 8.
fn fetch_weight8(at8: u32) -> packed_weight8 {
    return packed_weight8(weight[2u * at8], weight[2u * at8 + 1u]);
}

fn staged_weight(packed: packed_weight8) -> vec4<u32> {
    return vec4<u32>(
        pack2x16float(packed.low.xy), pack2x16float(packed.low.zw),
        pack2x16float(packed.high.xy), pack2x16float(packed.high.zw),
    );
}
