// Eight neighbours of a Linear weight [n, k] as packed f16, stored as f32. Expects: params.k, a multiple of 8.
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;

struct packed_weight8 {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn fetch_weight8(row: u32, k8: u32) -> packed_weight8 {
    let at = row * (params.k / 4u) + 2u * k8;
    return packed_weight8(weight[at], weight[at + 1u]);
}

fn staged_weight(packed: packed_weight8) -> vec4<u32> {
    return vec4<u32>(
        pack2x16float(packed.low.xy), pack2x16float(packed.low.zw),
        pack2x16float(packed.high.xy), pack2x16float(packed.high.zw),
    );
}
