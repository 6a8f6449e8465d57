// softmax(q k^T * scale + bias) v over lists of key tiles, on the GPU's matrix units: f16 in, f32 sums
//
// Operands, tiles and results are those of attention.wgsl, with q, k, v in f16 (bound eight at a time).
//
// One workgroup takes one query tile of 64 rows and one head, with four subgroups of 32. Subgroup s computes the scores
// of query rows 32 (s / 2) .. + 32 against half of a key tile, and half of the head's dimensions of their output.
// Queries stay in registers as fragments; keys, then values, of a tile share one stage in workgroup memory. Scores make
// a round trip through workgroup memory for the softmax, since a matrix fragment's elements cannot be touched.
// For the same reason the output cannot be rescaled row by row in registers: the running maximum is only raised when a
// row's maximum grows by more than RAISE, and the output makes its own round trip then (the first tile, seldom later).
// Probabilities are at most exp(RAISE) and fit f16; statistics are f32.
// A query without keys gives zeros and lse = -inf. Preconditions (op): HEAD_DIM 32 to 128, a multiple of 32;
// f16 -> f32 fragments of 16 x 16 x 16, subgroups of 32.

#import shared/stage_head_rows

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
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> query_tiles: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> key_tiles: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> perturbation: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f16>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const HEAD_DIM8 = HEAD_DIM / 8u;
const STAGE_STRIDE = HEAD_DIM8 + 1u; // in groups of 8, padded against bank conflicts
const SCORE_STRIDE = 68u;
const P_STRIDE = 72u;
const LOWEST = -3.0e38; // stands for -inf: WGSL does not promise that infinities survive arithmetic
const RAISE = 8.0;

alias left = subgroup_matrix_left<f16, 16, 16>;
alias right = subgroup_matrix_right<f16, 16, 16>;
alias result = subgroup_matrix_result<f32, 16, 16>;

var<workgroup> stage: array<vec4<u32>, 64u * STAGE_STRIDE>;
// Scores of the tile; also 16 rows of output of each subgroup when the output is rescaled or stored.
var<workgroup> scores: array<f32, 64u * SCORE_STRIDE>;
var<workgroup> probabilities: array<f16, 64u * P_STRIDE>;
var<workgroup> row_max: array<f32, 64>;
var<workgroup> row_sum: array<f32, 64>;
var<workgroup> row_scale: array<f32, 64>;
var<workgroup> shared_part: array<f32, 128>;
var<workgroup> must_rescale: atomic<u32>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let queries = query_tiles[params.list_stride * group.y + group.x];
    var strength = 0.0;
    if params.perturbation_use > 0u {
        strength = perturbation[group.y];
    }
    let last_tile = select(queries.w, queries.z, strength == 1.0);
    let first_row = 32u * (subgroup / 2u);
    let half = subgroup % 2u;
    let output_at = subgroup * 16u * SCORE_STRIDE;

    stage_rows_q(queries.xy, group.y, index);
    if index < 64u {
        row_max[index] = LOWEST;
        row_sum[index] = 0.0;
    }
    workgroupBarrier();
    #repeat i 2
    #repeat c D16
    let q_$i_$c =
        subgroupMatrixLoad<left, row_major>(&stage, (first_row + 16u * $i) * STAGE_STRIDE + 2u * $c, STAGE_STRIDE);
    #end
    #repeat j D32
    var out_$i_$j: result;
    #end
    #end

    for (var tile = queries.z; tile < last_tile; tile++) {
        let keys = key_tiles[tile];
        workgroupBarrier();
        stage_rows_k(keys.xy, group.y, index);
        if index == 0u {
            atomicStore(&must_rescale, 0u);
        }
        workgroupBarrier();
        #repeat j 2
        {
            // Assigned: without initialiser a fragment is zeroed once per invocation, not once per iteration.
            #repeat i 2
            var score_$i = result();
            #end
            #repeat c D16
            {
                let at = (32u * half + 16u * $j) * STAGE_STRIDE + 2u * $c;
                let key = subgroupMatrixLoad<right, col_major>(&stage, at, STAGE_STRIDE);
                #repeat i 2
                score_$i = subgroupMatrixMultiplyAccumulate(q_$i_$c, key, score_$i);
                #end
            }
            #end
            #repeat i 2
            subgroupMatrixStore<row_major>(
                &scores, (first_row + 16u * $i) * SCORE_STRIDE + 32u * half + 16u * $j, score_$i, SCORE_STRIDE,
            );
            #end
        }
        #end
        workgroupBarrier();
        stage_rows_v(keys.xy, group.y, index);
        update_row(index / 2u, index % 2u, keys);

        if workgroupUniformLoad(&must_rescale) != 0u {
            #repeat i 2
            workgroupBarrier();
            #repeat j D32
            subgroupMatrixStore<row_major>(&scores, output_at + 16u * $j, out_$i_$j, SCORE_STRIDE);
            #end
            workgroupBarrier();
            for (var element = index % 32u; element < 16u * 16u * D32; element += 32u) {
                let row = element / (16u * D32);
                scores[output_at + row * SCORE_STRIDE + element % (16u * D32)] *= row_scale[first_row + 16u * $i + row];
            }
            workgroupBarrier();
            #repeat j D32
            out_$i_$j = subgroupMatrixLoad<result, row_major>(&scores, output_at + 16u * $j, SCORE_STRIDE);
            #end
            #end
        }
        #repeat c 4
        {
            #repeat i 2
            let p_at_$i = (first_row + 16u * $i) * P_STRIDE + 16u * $c;
            let p_$i = subgroupMatrixLoad<left, row_major>(&probabilities, p_at_$i, P_STRIDE);
            #end
            #repeat j D32
            {
                let at = 16u * $c * STAGE_STRIDE + half * (HEAD_DIM8 / 2u) + 2u * $j;
                let value = subgroupMatrixLoad<right, row_major>(&stage, at, STAGE_STRIDE);
                #repeat i 2
                out_$i_$j = subgroupMatrixMultiplyAccumulate(p_$i, value, out_$i_$j);
                #end
            }
            #end
        }
        #end
    }

    #repeat i 2
    workgroupBarrier();
    #repeat j D32
    subgroupMatrixStore<row_major>(&scores, output_at + 16u * $j, out_$i_$j, SCORE_STRIDE);
    #end
    workgroupBarrier();
    for (var element = index % 32u; element < 16u * 4u * D32; element += 32u) {
        let row = first_row + 16u * $i + element / (4u * D32);
        let column = 4u * (element % (4u * D32));
        let at = output_at + (element / (4u * D32)) * SCORE_STRIDE + column;
        if row < queries.y {
            let sum = row_sum[row];
            let un_normalised = vec4<f32>(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
            var value = un_normalised * select(0.0, 1.0 / sum, sum > 0.0);
            let head_at = ((queries.x + row) * params.heads + group.y) * HEAD_DIM + half * (HEAD_DIM / 2u) + column;
            if params.perturbation_use == 2u {
                value = mix(value, own_value(head_at / 4u), strength);
            }
            out[head_at / 4u] = vec4<f16>(value);
        }
    }
    #end
    if index < queries.y {
        let sum = row_sum[index];
        let value = select(params.lse_without_keys, row_max[index] + log(sum), sum > 0.0);
        lse[group.y * params.num_queries + queries.x + index] = value;
    }
}

// Turns a row of scores into f16 probabilities against the running maximum and updates the row's statistics; two
// threads a row, 32 keys each (every other one).
fn update_row(row: u32, part: u32, keys: vec4<u32>) {
    let bias = bitcast<f32>(keys.z);
    let at = row * SCORE_STRIDE + part;
    var part_max = LOWEST;
    for (var c = 0u; c < 64u; c += 2u) {
        let logit = scores[at + c] * params.scale + bias;
        part_max = max(part_max, select(LOWEST, logit, part + c < keys.y));
    }
    shared_part[2u * row + part] = part_max;
    let old_max = row_max[row];
    workgroupBarrier();
    let tile_max = max(shared_part[2u * row], shared_part[2u * row + 1u]);
    let raises = tile_max > old_max + RAISE;
    let new_max = select(old_max, tile_max, raises);
    var part_sum = 0.0;
    for (var c = 0u; c < 64u; c += 2u) {
        let logit = scores[at + c] * params.scale + bias;
        let p = f16(select(0.0, exp(logit - new_max), part + c < keys.y));
        probabilities[row * P_STRIDE + part + c] = p;
        part_sum += f32(p);
    }
    workgroupBarrier();
    shared_part[2u * row + part] = part_sum;
    workgroupBarrier();
    if part == 0u {
        let rescale = exp(old_max - new_max);
        row_sum[row] = row_sum[row] * rescale + shared_part[2u * row] + shared_part[2u * row + 1u];
        row_max[row] = new_max;
        row_scale[row] = rescale;
        if raises && old_max > LOWEST {
            atomicOr(&must_rescale, 1u);
        }
    }
    workgroupBarrier();
}

// Four elements of v, which is bound eight at a time.
fn own_value(at4: u32) -> vec4<f32> {
    let packed = v[at4 / 2u];
    let pair = select(packed.xy, packed.zw, at4 % 2u == 1u);
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
