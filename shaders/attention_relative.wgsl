// out[i, h, :] = softmax_j( q[i, h] . k[j, h] + bias[h, j - i] ) . v[j, h]
//
// q, k, v, out  [tokens, heads * head_dim] f32
// bias          [heads, 2 * tokens - 1] f32: relative position bias by key - query, from -(tokens - 1)
//
// One workgroup takes one query of one head; its scores live in workgroup memory, so tokens is at most 512 (UMT5's
// text length). No scale, as T5 has none. Sums are f32.
// Matches UMT5Attention without a mask, for the real tokens only.

#import shared/reduce_row

struct Params {
    tokens: u32,
    heads: u32,
    head_dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

var<workgroup> scores: array<f32, 512>;
var<workgroup> maxima: array<f32, ROW_THREADS>;

@compute @workgroup_size(ROW_THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let query = group.x;
    let head = group.y;
    let width = params.heads * params.head_dim;
    let column = head * params.head_dim;

    var largest = -3.0e38;
    for (var key = local; key < params.tokens; key += ROW_THREADS) {
        var sum = bias[head * (2u * params.tokens - 1u) + key + params.tokens - 1u - query];
        for (var d = 0u; d < params.head_dim; d++) {
            sum += q[query * width + column + d] * k[key * width + column + d];
        }
        scores[key] = sum;
        largest = max(largest, sum);
    }
    maxima[local] = largest;
    workgroupBarrier();
    for (var i = 0u; i < ROW_THREADS; i++) {
        largest = max(largest, maxima[i]);
    }

    var part = 0.0;
    for (var key = local; key < params.tokens; key += ROW_THREADS) {
        let p = exp(scores[key] - largest);
        scores[key] = p;
        part += p;
    }
    let sum = reduce_row(part, local);

    for (var d = local; d < params.head_dim; d += ROW_THREADS) {
        var value = 0.0;
        for (var key = 0u; key < params.tokens; key++) {
            value += scores[key] * v[key * width + column + d];
        }
        out[query * width + column + d] = value / sum;
    }
}
