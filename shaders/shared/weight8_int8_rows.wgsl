// Sixteen neighbours of a Linear weight [n, k] as they are stored: int8, relative to one scale for the row
// (shared/matrix_int8), k a multiple of 16.
@group(0) @binding(4) var<storage, read> weight: array<vec4<u32>>;

alias packed_weight8 = vec4<u32>;

// at16: row * (k / 16) + column / 16.
fn fetch_weight8(at16: u32) -> packed_weight8 {
    return weight[at16];
}

fn staged_weight(packed: packed_weight8) -> vec4<u32> {
    return packed;
}
