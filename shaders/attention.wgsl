// out[i, h, :] = softmax_j( q[i, h] . k[j, h] * scale + bias(tile of j) ) . v[j, h],  lse[h, i] = log of the sum.
//
// q, out       [num_queries, heads * HEAD_DIM] elem
// k, v         [num_keys, heads * HEAD_DIM] elem
// lse          [heads, num_queries] f32
// query_tiles  [lists, num_query_tiles] of (first row, rows, first key tile, end of its key tiles): at most 64 rows
//              each; head h reads list h when lists = heads, list 0 when lists = 1; ranges of key tiles may be shared
// key_tiles    (first row, rows, bits of an f32 logit bias, 0): at most 64 rows each
// perturbation [heads] f32: SoftPAG (2506.10978), out = (1 - u) * out + u * v of the query's own row
//
// FlashAttention-2 (2307.08691): one workgroup takes one query tile of one head and walks its key tiles; scores,
// statistics and the un-normalised output are f32, with one division at the end. The 64 x 64 scores of a tile are
// computed by 16 x 16 threads, 4 x 4 each (rows and keys 16 apart), from 16-wide chunks of q and k staged in workgroup
// memory; the same memory then holds rows of v.
// A query without keys gives zeros and lse = -inf. Preconditions (op): HEAD_DIM 32 to 128, a multiple of 32.
// Matches torch.nn.functional.scaled_dot_product_attention for a mask made of whole tiles.

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<elem>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<elem>>;
@group(0) @binding(4) var<storage, read> query_tiles: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> key_tiles: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> perturbation: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<elem>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const HEAD_DIM4 = HEAD_DIM / 4u;
const CHUNK4 = 4u;
const CHUNK_STRIDE = CHUNK4 + 1u; // padded against bank conflicts
const STAGE_K = 64u * CHUNK_STRIDE;
const V_ROWS = 1u << firstLeadingBit(512u / HEAD_DIM4); // rows of v in the stage: 16 at head dim 96 and 128, 64 at 32
const SCORE_STRIDE = 65u;
// They stand for -inf: WGSL does not promise that infinities survive arithmetic. What is no key lies so far below the
// first maximum that its probability is 0, even in a tile without any key.
const NO_KEY = -3.0e38;
const LOWEST = -1.0e38;

var<workgroup> stage: array<vec4<f32>, 2u * STAGE_K>;
var<workgroup> scores: array<f32, 64u * SCORE_STRIDE>;
// Per query: running maximum and sum, the factor that rescales the output; and what four threads share of a row.
var<workgroup> row_max: array<f32, 64>;
var<workgroup> row_sum: array<f32, 64>;
var<workgroup> row_scale: array<f32, 64>;
var<workgroup> shared_part: array<f32, 256>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let queries = query_tiles[params.list_stride * group.y + group.x];
    var strength = 0.0;
    if params.perturbation_use > 0u {
        strength = perturbation[group.y];
    }
    let last_tile = select(queries.w, queries.z, strength == 1.0);
    let row_stride = params.heads * HEAD_DIM4;
    let head_column = group.y * HEAD_DIM4;

    #repeat i 4
    #repeat d OUT_COLUMNS
    var out_$i_$d = vec4<f32>();
    #end
    #end
    if index < 64u {
        row_max[index] = LOWEST;
        row_sum[index] = 0.0;
    }

    for (var tile = queries.z; tile < last_tile; tile++) {
        let keys = key_tiles[tile];

        #repeat i 4
        var score_$i = vec4<f32>();
        #end
        for (var chunk = 0u; chunk < HEAD_DIM4; chunk += CHUNK4) {
            workgroupBarrier();
            {
                let row = index / CHUNK4;
                let column = index % CHUNK4;
                let at = row * CHUNK_STRIDE + column;
                var q_part = vec4<f32>();
                if row < queries.y {
                    q_part = vec4<f32>(q[(queries.x + row) * row_stride + head_column + chunk + column]);
                }
                stage[at] = q_part;
                var k_part = vec4<f32>();
                if row < keys.y {
                    k_part = vec4<f32>(k[(keys.x + row) * row_stride + head_column + chunk + column]);
                }
                stage[STAGE_K + at] = k_part;
            }
            workgroupBarrier();
            for (var c = 0u; c < CHUNK4; c++) {
                #repeat j 4
                let k_$j = stage[STAGE_K + (local.x + 16u * $j) * CHUNK_STRIDE + c];
                #end
                #repeat i 4
                let q_$i = stage[(local.y + 16u * $i) * CHUNK_STRIDE + c];
                score_$i += vec4<f32>(dot(q_$i, k_0), dot(q_$i, k_1), dot(q_$i, k_2), dot(q_$i, k_3));
                #end
            }
        }
        let bias = bitcast<f32>(keys.z);
        let is_key = (vec4<u32>(0u, 16u, 32u, 48u) + local.x) < vec4<u32>(keys.y);
        #repeat i 4
        {
            let logits = select(vec4<f32>(NO_KEY), score_$i * params.scale + bias, is_key);
            let at = (local.y + 16u * $i) * SCORE_STRIDE + local.x;
            scores[at] = logits.x;
            scores[at + 16u] = logits.y;
            scores[at + 32u] = logits.z;
            scores[at + 48u] = logits.w;
        }
        #end
        workgroupBarrier();
        update_row(index / 4u, index % 4u);

        // What was summed so far belongs to the old maximum.
        #repeat i 4
        {
            let factor = row_scale[local.y + 16u * $i];
            #repeat d OUT_COLUMNS
            out_$i_$d *= factor;
            #end
        }
        #end
        for (var first = 0u; first < keys.y; first += V_ROWS) {
            workgroupBarrier();
            for (var i = index; i < V_ROWS * HEAD_DIM4; i += 256u) {
                let row = first + i / HEAD_DIM4;
                var value = vec4<f32>();
                if row < keys.y {
                    value = vec4<f32>(v[(keys.x + row) * row_stride + head_column + i % HEAD_DIM4]);
                }
                stage[i] = value;
            }
            workgroupBarrier();
            for (var row = 0u; row < V_ROWS; row++) {
                #repeat i 4
                let p_$i = scores[(local.y + 16u * $i) * SCORE_STRIDE + first + row];
                #end
                #repeat d OUT_COLUMNS
                if local.x + 16u * $d < HEAD_DIM4 {
                    let value = stage[row * HEAD_DIM4 + local.x + 16u * $d];
                    #repeat i 4
                    out_$i_$d += p_$i * value;
                    #end
                }
                #end
            }
        }
    }

    workgroupBarrier();
    #repeat i 4
    if local.y + 16u * $i < queries.y {
        let sum = row_sum[local.y + 16u * $i];
        let factor = select(0.0, 1.0 / sum, sum > 0.0);
        let at = (queries.x + local.y + 16u * $i) * row_stride + head_column + local.x;
        #repeat d OUT_COLUMNS
        if local.x + 16u * $d < HEAD_DIM4 {
            var value = out_$i_$d * factor;
            if params.perturbation_use == 2u {
                value = mix(value, vec4<f32>(v[at + 16u * $d]), strength);
            }
            out[at + 16u * $d] = vec4<elem>(value);
        }
        #end
    }
    #end
    if index < queries.y {
        let sum = row_sum[index];
        let value = select(params.lse_without_keys, row_max[index] + log(sum), sum > 0.0);
        lse[group.y * params.num_queries + queries.x + index] = value;
    }
}

// Turns a row of logits into un-normalised probabilities and updates the row's statistics; four threads a row.
fn update_row(row: u32, part: u32) {
    let at = row * SCORE_STRIDE + part;
    var part_max = LOWEST;
    for (var c = 0u; c < 64u; c += 4u) {
        part_max = max(part_max, scores[at + c]);
    }
    shared_part[4u * row + part] = part_max;
    workgroupBarrier();
    let old_max = row_max[row];
    var new_max = old_max;
    #repeat c 4
    new_max = max(new_max, shared_part[4u * row + $c]);
    #end
    var part_sum = 0.0;
    for (var c = 0u; c < 64u; c += 4u) {
        let p = exp(scores[at + c] - new_max);
        scores[at + c] = p;
        part_sum += p;
    }
    workgroupBarrier();
    shared_part[4u * row + part] = part_sum;
    workgroupBarrier();
    if part == 0u {
        let rescale = exp(old_max - new_max);
        var sum = row_sum[row] * rescale;
        #repeat c 4
        sum += shared_part[4u * row + $c];
        #end
        row_sum[row] = sum;
        row_max[row] = new_max;
        row_scale[row] = rescale;
    }
    workgroupBarrier();
}
