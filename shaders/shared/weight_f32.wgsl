// A Linear weight [n, k], stored as f32. Expects: params.k, a multiple of 4.
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;

fn load_weight(row: u32, k4: u32) -> vec4<f32> {
    return weight[row * (params.k / 4u) + k4];
}
