// Eight neighbours of a Linear weight [n, k] as packed f16, stored as f16. Expects: params.k, a multiple of 8.
@group(0) @binding(4) var<storage, read> weight: array<vec4<u32>>;

fn load_weight8(row: u32, k8: u32) -> vec4<u32> {
    return weight[row * (params.k / 8u) + k8];
}
