// What lies between fragments and rows. Expects: the bindings of attention_subgroup_matrix.wgsl.

// Eight numbers as they are staged.
fn packed8(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(
        pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw),
    );
}

// Four neighbouring scores of a query, or columns of its output.
fn score4(block: u32, at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(scores[block][at]);
}

// The row of k of the key at a place of a list, which has 64 places a tile.
fn place_row(first_tile: u32, place: u32) -> u32 {
    return tile_row(key_tiles[first_tile + place / 64u], place % 64u);
}

// What is added to the logits, powers of two, of what place_row gives: NO_KEY in a tile without any key.
fn place_bias(first_tile: u32, place: u32) -> f32 {
    let tile = key_tiles[first_tile + place / 64u];
    return select(bitcast<f32>(tile.z) * LOG2_E, NO_KEY, tile.y == 0u);
}

fn largest(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> f32 {
    let max4 = max(max(a, b), max(c, d));
    return max(max(max4.x, max4.y), max(max4.z, max4.w));
}

// The probabilities of four neighbouring keys of a tile of `rows`, 0 for those that it has not.
fn masked(probabilities: vec4<f32>, first: u32, rows: u32) -> vec4<f32> {
    let key = vec4<u32>(0u, 1u, 2u, 3u) + first;
    return select(vec4<f32>(), probabilities, key < vec4<u32>(rows));
}

// A query's four columns, perturbed by its own row of v as far as that is wanted.
fn store(at4: u32, value: vec4<f32>, strength: f32) {
    var perturbed = value;
    if params.perturbation_use == 2u {
        let own = v[at4 / 2u];
        let pair = select(own.xy, own.zw, at4 % 2u == 1u);
        perturbed = mix(value, vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y)), strength);
    }
    out[at4] = vec4<f16>(perturbed);
}
