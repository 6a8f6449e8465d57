// Eight neighbours of a Linear weight [n, k] as packed f16, stored as f16, k a multiple of 8.
@group(0) @binding(4) var<storage, read> weight: array<vec4<u32>>;

// As they are stored, so that a kernel can fetch them long before it needs them.
alias packed_weight8 = vec4<u32>;

// at8: row * (k / 8) + column / 8.
fn fetch_weight8(at8: u32) -> packed_weight8 {
    return weight[at8];
}

fn staged_weight(packed: packed_weight8) -> vec4<u32> {
    return packed;
}
