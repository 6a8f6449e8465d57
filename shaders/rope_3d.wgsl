// Rotates adjacent pairs of every head's vector by the angle of the token's (frame, row, column):
//   out[2p] = x[2p] cos - x[2p+1] sin,  out[2p+1] = x[2p] sin + x[2p+1] cos
//
// x, out  [tokens, heads * head_dim] elem; token = ((frame - first_frame) * grid_height + row) * grid_width + column
// table   (cos, sin) f32 of each pair: [frames, pairs_t], then [grid_height, pairs_h], then [grid_width, pairs_w]
//
// One thread rotates two pairs. A head is [t pairs | h pairs | w pairs]; every head uses the same table.
// Precondition (op): head_dim is a multiple of 4.
// Matches apply_rotary_emb in diffusers' transformer_wan.py.

#import shared/element_index

struct Params {
    count4: u32,
    heads: u32,
    head_pairs: u32,
    pairs_t: u32,
    pairs_h: u32,
    pairs_w: u32,
    frames: u32,
    first_frame: u32,
    grid_height: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<elem>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i >= params.count4 {
        return;
    }
    let row_length = params.heads * params.head_pairs / 2u;
    let token = i / row_length;
    let pair = (2u * i) % params.head_pairs;
    let value = vec4<f32>(x[i]);
    let first = rotate(value.xy, rotation(token, pair));
    let second = rotate(value.zw, rotation(token, pair + 1u));
    out[i] = vec4<elem>(vec4<f32>(first, second));
}

fn rotate(pair: vec2<f32>, cos_sin: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(pair.x * cos_sin.x - pair.y * cos_sin.y, pair.x * cos_sin.y + pair.y * cos_sin.x);
}

fn rotation(token: u32, pair: u32) -> vec2<f32> {
    let column = token % params.grid_width;
    let row = (token / params.grid_width) % params.grid_height;
    let frame = params.first_frame + token / (params.grid_width * params.grid_height);
    if pair < params.pairs_t {
        return table[frame * params.pairs_t + pair];
    }
    let rows_start = params.frames * params.pairs_t;
    if pair < params.pairs_t + params.pairs_h {
        return table[rows_start + row * params.pairs_h + pair - params.pairs_t];
    }
    let columns_start = rows_start + params.grid_height * params.pairs_h;
    return table[columns_start + column * params.pairs_w + pair - params.pairs_t - params.pairs_h];
}
