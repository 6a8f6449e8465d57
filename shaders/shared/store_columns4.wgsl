// Writes four neighbouring sums of a row: bias, activation, bounds.
// Expects: params.m, params.n, a multiple of 4; bias and out as vectors; out_elem, activate.

fn store(row: u32, column4: u32, sum: vec4<f32>) {
    let n4 = params.n / 4u;
    if row < params.m && column4 < n4 {
        out[row * n4 + column4] = vec4<out_elem>(activate(sum + bias[column4]));
    }
}
