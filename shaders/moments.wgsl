// out[c, 0] = sum of x, out[c, 1] = sum of x^2, over the elements i with i mod chunks = c
//
// x    [count] f32
// out  [chunks, 2] f32
//
// One workgroup takes one chunk, whose elements lie `chunks` apart, and a thread every ROW_THREADS-th of them;
// sums are f32. Whoever needs the mean or the deviation of all elements adds the chunks up: see match_deviation.wgsl.

#import shared/reduce_row

struct Params {
    count: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(ROW_THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = group.x;
    var sum = 0.0;
    var squares = 0.0;
    for (var i = chunk + params.chunks * local; i < params.count; i += params.chunks * ROW_THREADS) {
        let value = x[i];
        sum += value;
        squares += value * value;
    }
    let total = reduce_row(sum, local);
    let total_squares = reduce_row(squares, local);
    if local == 0u {
        out[2u * chunk] = total;
        out[2u * chunk + 1u] = total_squares;
    }
}
