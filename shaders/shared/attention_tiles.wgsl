// What the kernels of attention over lists of key tiles share. Expects: the bindings of attention.wgsl.

struct Params {
    num_queries: u32,
    num_query_tiles: u32,
    heads: u32,
    /// num_query_tiles when every head has its own list, otherwise 0.
    list_stride: u32,
    scale: f32,
    /// -inf, which WGSL cannot write as a constant.
    lse_without_keys: f32,
    /// 0: perturbation is not read; 1: heads of strength 1 skip their keys; 2: and every head is perturbed.
    perturbation_use: u32,
}

// They stand for -inf: WGSL does not promise that infinities survive arithmetic. What is no key lies so far below the
// first maximum that its probability is 0, even in a tile without any key.
const NO_KEY = -3.0e38;
const LOWEST = -1.0e38;

// The row of k and v where a key of a tile lies, of its last one for what is no key; likewise for queries and q.
fn tile_row(tile: vec4<u32>, row: u32) -> u32 {
    return tile.x + min(row, max(tile.y, 1u) - 1u);
}

// SoftPAG's u of a head; its keys are not read when it is 1.
fn head_strength(head: u32) -> f32 {
    if params.perturbation_use == 0u {
        return 0.0;
    }
    return perturbation[head];
}

// The logarithm of a query's softmax denominator, from the largest logit and the sum of exponentials against it.
fn store_lse(head: u32, query: u32, largest: f32, sum: f32) {
    lse[head * params.num_queries + query] = select(params.lse_without_keys, largest + log(sum), sum > 0.0);
}
