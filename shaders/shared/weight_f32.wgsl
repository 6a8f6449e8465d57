// A Linear weight [n, k], stored as f32. Expects: params.k, a multiple of 4.
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;

alias packed_weight = vec4<f32>;

fn fetch_weight(row: u32, k4: u32) -> packed_weight {
    return weight[row * (params.k / 4u) + k4];
}

fn widen_weight(packed: packed_weight) -> vec4<f32> {
    return packed;
}
