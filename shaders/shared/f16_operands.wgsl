// How operands of f16 products are prepared. Expects: f16_products.

// Eight packed numbers, divided by 16.
fn sixteenth(packed: vec4<u32>) -> vec4<u32> {
    let factor = 0.0625h;
    let low = vec2<u32>(bitcast<u32>(pair(packed.x) * factor), bitcast<u32>(pair(packed.y) * factor));
    return vec4<u32>(low, bitcast<u32>(pair(packed.z) * factor), bitcast<u32>(pair(packed.w) * factor));
}
