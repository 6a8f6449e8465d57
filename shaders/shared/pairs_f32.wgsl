// Packed pairs of f16 in kernels that compute in f32: the functions of pairs_f16.wgsl where there is no shader-f16.

fn pair(packed: u32) -> vec2<f32> {
    return unpack2x16float(packed);
}

fn sixteenth(packed: u32) -> u32 {
    return pack2x16float(0.0625 * pair(packed));
}
