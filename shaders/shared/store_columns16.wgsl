// Writes a thread's sums of one row: bias, activation, bounds.
// Expects: params.m, params.n, bias, out, out_elem, activate.

// The four columns of a sum are 16 apart.
fn store(row: u32, column: u32, sum: vec4<f32>) {
    if row >= params.m {
        return;
    }
    let columns = column + vec4<u32>(0u, 16u, 32u, 48u);
    let inside = columns < vec4<u32>(params.n);
    let biased = sum + vec4<f32>(bias_at(columns.x), bias_at(columns.y), bias_at(columns.z), bias_at(columns.w));
    let value = vec4<out_elem>(activate(biased));
    #repeat c 4
    if inside[$c] {
        out[row * params.n + columns[$c]] = value[$c];
    }
    #end
}

fn bias_at(column: u32) -> f32 {
    return bias[min(column, params.n - 1u)];
}
