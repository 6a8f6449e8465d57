// Products of eight pairs of packed f16, added up in f16: even ones to the first sum, odd ones to the second.

fn add_products(sum: vec2<f16>, a: vec4<u32>, b: vec4<u32>) -> vec2<f16> {
    let xy = fma(pair(a.y), pair(b.y), fma(pair(a.x), pair(b.x), sum));
    return fma(pair(a.w), pair(b.w), fma(pair(a.z), pair(b.z), xy));
}

fn pair(packed: u32) -> vec2<f16> {
    return bitcast<vec2<f16>>(packed);
}

// Both sums in f32.
fn both(sums: vec2<f16>) -> f32 {
    return f32(sums.x) + f32(sums.y);
}
