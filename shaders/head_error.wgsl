// How far each head of x is from the same head of reference, in blocks of 16 rows:
//   out[head, block] = (sum of (x - reference)^2, sum of reference^2)
//
// x, reference  [rows, heads * head_dim] elem
// out           [heads, blocks] pairs of f32; blocks = ceil(rows / 16), which the caller adds up in f64
//
// One thread takes one head of one block: no barrier, and little memory for the result. Precondition (op): head_dim is
// a multiple of 4.

#import shared/element_index

struct Params {
    rows: u32,
    heads: u32,
    head_dim4: u32,
    blocks: u32,
}

const BLOCK_ROWS = 16u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> reference: array<vec4<elem>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i >= params.heads * params.blocks {
        return;
    }
    let head = i / params.blocks;
    let first = (i % params.blocks) * BLOCK_ROWS;
    let last = min(first + BLOCK_ROWS, params.rows);
    var sums = vec2<f32>();
    for (var row = first; row < last; row++) {
        let start = (row * params.heads + head) * params.head_dim4;
        for (var column = start; column < start + params.head_dim4; column++) {
            let wanted = vec4<f32>(reference[column]);
            let difference = vec4<f32>(x[column]) - wanted;
            sums += vec2<f32>(dot(difference, difference), dot(wanted, wanted));
        }
    }
    out[i] = sums;
}
