// What the kernels of attention over lists of key tiles share. Expects: the bindings of attention.wgsl.

struct Params {
    num_queries: u32,
    num_query_tiles: u32,
    heads: u32,
    /// num_query_tiles when every head has its own list, otherwise 0.
    list_stride: u32,
    /// Query tiles of every list whose turn comes before those of all others.
    num_first: u32,
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

// A workgroup's head, and its query tile's place in that head's list.
struct Turn {
    head: u32,
    tile: u32,
}

// Workgroups begin in the order of their ids: first the `num_first` longest of every list, then the rest, head after
// head. One that takes ten times as long as the others and begins last would keep the whole device waiting.
fn turn_of(group: vec3<u32>) -> Turn {
    let turn = params.num_query_tiles * group.y + group.x;
    let first_turns = params.num_first * params.heads;
    if turn < first_turns {
        return Turn(turn / params.num_first, turn % params.num_first);
    }
    let num_rest = params.num_query_tiles - params.num_first;
    return Turn((turn - first_turns) / num_rest, params.num_first + (turn - first_turns) % num_rest);
}

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
