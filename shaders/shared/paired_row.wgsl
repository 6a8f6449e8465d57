// The row of a staged operand that a thread fills, four threads a row, when rows of 16-byte groups lie 5 apart: eight
// neighbouring threads take rows r and r + 4, whose groups lie in different banks of workgroup memory (r and r + 1
// share three). Expects: a multiple of 32 threads.
fn paired_row(index: u32) -> u32 {
    return index / 32u * 8u + index / 8u % 4u + index / 4u % 2u * 4u;
}
