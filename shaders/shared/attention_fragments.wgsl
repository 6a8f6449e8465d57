// What lies between fragments and rows. Expects: the bindings of attention_subgroup_matrix.wgsl.

// Eight numbers as they are staged.
fn packed8(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(
        pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw),
    );
}

// Of four neighbouring keys of a tile of `rows`, `other` for those that it has not.
fn masked(values: vec4<f32>, first: u32, rows: u32, other: f32) -> vec4<f32> {
    let key = vec4<u32>(0u, 1u, 2u, 3u) + first;
    return select(vec4<f32>(other), values, key < vec4<u32>(rows));
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
