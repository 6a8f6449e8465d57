// Statistics of the 64 rows of a query tile in workgroup memory, for kernels in which 16 threads share a row. Expects:
// shared4(row, 0 to 3), what the 16 threads have shared.

var<workgroup> row_max: array<f32, 64>;
var<workgroup> row_factor: array<f32, 64>;

// Takes the largest of a row, a logit in powers of two, into its running maximum; row_factor is what sums and outputs
// so far shrink by.
fn raise_row_max(row: u32) {
    let max4 = max(max(shared4(row, 0u), shared4(row, 1u)), max(shared4(row, 2u), shared4(row, 3u)));
    let old_max = row_max[row];
    let new_max = max(old_max, max(max(max4.x, max4.y), max(max4.z, max4.w)));
    row_max[row] = new_max;
    row_factor[row] = exp2(old_max - new_max);
}

fn row_total(row: u32) -> f32 {
    return dot((shared4(row, 0u) + shared4(row, 1u)) + (shared4(row, 2u) + shared4(row, 3u)), vec4<f32>(1.0));
}
