// Packed pairs of f16 in kernels that compute in f16. pairs_f32.wgsl has the same functions in f32.

fn pair(packed: u32) -> vec2<f16> {
    return bitcast<vec2<f16>>(packed);
}

fn sixteenth(packed: u32) -> u32 {
    return bitcast<u32>(pair(packed) * 0.0625h);
}
