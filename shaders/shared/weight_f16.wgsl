// A Linear weight [n, k], stored as f16 in pairs; needs no shader-f16. Expects: params.k, a multiple of 4.
@group(0) @binding(4) var<storage, read> weight: array<vec2<u32>>;

// Four neighbours as they are stored, so that a kernel can fetch them long before it needs them.
alias packed_weight = vec2<u32>;

fn fetch_weight(row: u32, k4: u32) -> packed_weight {
    return weight[row * (params.k / 4u) + k4];
}

fn widen_weight(packed: packed_weight) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
