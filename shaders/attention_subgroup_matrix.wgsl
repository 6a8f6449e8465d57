// out[i, h, :] = softmax_j( q[i, h] . k[j, h] * scale + bias(tile of j) ) . v[j, h] on the GPU's matrix units
//
// Operands, tiles and results are those of attention.wgsl, f16, read eight at a time. A pair of subgroups (32 wide)
// shares 32 queries: each computes the scores of half of the keys and half of the output's columns; the output stays in
// fragments. 32 keys are staged at a time, then their values in the same memory; what comes next is fetched meanwhile.
// An element of a fragment cannot be touched, so scores go through workgroup memory, where two threads a row turn them
// into f16 probabilities in place, and the output cannot be rescaled when a row's maximum grows. Probabilities are
// therefore relative to the maximum of a sample: up to 128 single keys, spread evenly over the list. They fit f16 as
// long as no logit exceeds it by 11; should one do so, which the sum of a row tells (an exponential beyond f32 must
// compare as large, as Vulkan's does), the workgroup starts again with the maximum of all keys. So no step has a vote.
// Memory is kept under 24 KiB: an NVIDIA multiprocessor gives 48 KiB to all workgroups it runs, and one alone is half
// as fast. Fragments are loaded at constant offsets into arrays of arrays, which need no bounds check.
// A query without keys gives zeros and lse = -inf. Preconditions (op): HEAD_DIM 32 to 128, a multiple of 32;
// f16 -> f32 fragments of 16 x 16 x 16, subgroups of 32.

#import shared/attention_fragments
#import shared/attention_tiles
#import shared/powers_of_two

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> query_tiles: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> key_tiles: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> perturbation: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f16>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const THREADS = 128u;
const KEYS = 32u;
const HEAD_DIM8 = HEAD_DIM / 8u;
const HALF_DIM8 = HEAD_DIM8 / 2u;
// Rows of the stage and of scores in groups of 16 bytes, padded against bank conflicts.
const K_STRIDE = HEAD_DIM8 + 1u;
const V_STRIDE = HALF_DIM8 + 1u;
const SCORE_STRIDE = 5u;
// Of 32 samples each, at most one for every 4 steps.
const ROUNDS = 4u;
const LARGEST_F16 = 65504.0;

alias left = subgroup_matrix_left<f16, 16, 16>;
alias right = subgroup_matrix_right<f16, 16, 16>;
alias result = subgroup_matrix_result<f32, 16, 16>;

// Halves: of 16 keys each, then of half a head's columns each.
var<workgroup> stage: array<array<vec4<u32>, max(KEYS / 2u * K_STRIDE, KEYS * V_STRIDE)>, 2>;
// Of each subgroup: 32 queries x 16 keys; also 32 x 16 of its output when that is stored.
var<workgroup> scores: array<array<vec4<u32>, 32u * SCORE_STRIDE + 4u>, 4>;
var<workgroup> sample_bias: array<vec4<f32>, KEYS / 4u>;
var<workgroup> too_large: atomic<u32>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let turn = turn_of(group);
    let queries = query_tiles[params.list_stride * turn.head + turn.tile];
    let strength = head_strength(turn.head);
    // A key tile takes two steps.
    let first_step = 2u * queries.z;
    let last_step = 2u * select(queries.w, queries.z, strength == 1.0);
    let half = subgroup % 2u;
    let head_at = turn.head * HEAD_DIM8;
    let row_stride = params.heads * HEAD_DIM8;
    // The query and the half of a step's keys whose softmax this thread computes; its neighbour has the other.
    let row = index / 2u;
    let part = index % 2u;
    let score_block = row / 32u * 2u + part;
    let score_at = row % 32u * SCORE_STRIDE;
    let scale = params.scale * LOG2_E;

    #repeat c D16
    let q_part_$c = q[tile_row(queries, row) * row_stride + head_at + 2u * $c + part];
    #end
    #repeat c D16
    workgroupBarrier();
    scores[row / 32u * 2u][row % 32u * 3u + part] = q_part_$c;
    workgroupBarrier();
    #repeat i 2
    let q_$i_$c = subgroupMatrixLoad<left, row_major>(&scores[subgroup - half], 48u * $i, 3u);
    #end
    #end
    #repeat j D32
    var out_0_$j: result;
    var out_1_$j: result;
    #end
    #repeat e D32
    let load_row_$e = (index + $e * THREADS) / HEAD_DIM8;
    let load_column_$e = (index + $e * THREADS) % HEAD_DIM8;
    let load_at_$e = head_at + load_column_$e;
    var next_$e = vec4<u32>();
    #end
    let steps = last_step - first_step;
    // Places in the list are keys, 64 a tile. Samples begin at the queries' own and are an odd number apart, so that
    // they take all rows of tiles in turn. As many rounds as steps, 1 apart, sample everything.
    let places = KEYS * steps;
    let own = 64u * (steps / 2u * (queries.x / 64u) / params.num_query_tiles);
    var rounds = min(clamp(steps / 4u, 1u, ROUNDS), steps);
    var apart = (steps / max(rounds, 1u)) | 1u;
    var row_max = LOWEST;
    var row_sum = 0.0;
    loop {
        if steps > 0u {
            #repeat e D32
            next_$e = k[place_row(queries.z, (own + load_row_$e * apart) % places) * row_stride + load_at_$e];
            #end
        }
        for (var round = 0u; round < rounds; round++) {
            workgroupBarrier();
            #repeat e D32
            stage[load_row_$e / 16u][load_row_$e % 16u * K_STRIDE + load_column_$e] = next_$e;
            // What comes next: another round, or the first step.
            let sample_$e = (own + (KEYS * round + KEYS + load_row_$e) * apart) % places;
            let place_$e = select(sample_$e, load_row_$e, round + 1u == rounds);
            next_$e = k[place_row(queries.z, place_$e) * row_stride + load_at_$e];
            #end
            if index < KEYS {
                let place = (own + (KEYS * round + index) * apart) % places;
                sample_bias[index / 4u][index % 4u] = place_bias(queries.z, place);
            }
            workgroupBarrier();
            #repeat i 2
            var score_$i = result();
            #end
            #repeat c D16
            let key_$c = subgroupMatrixLoad<right, col_major>(&stage[half], 2u * $c, K_STRIDE);
            #repeat i 2
            score_$i = subgroupMatrixMultiplyAccumulate(q_$i_$c, key_$c, score_$i);
            #end
            #end
            #repeat i 2
            subgroupMatrixStore<row_major>(&scores[subgroup], 16u * $i * SCORE_STRIDE, score_$i, SCORE_STRIDE);
            #end
            workgroupBarrier();
            #repeat c 4
            let p_$c = fma(score4(score_block, score_at + $c), vec4<f32>(scale), sample_bias[4u * part + $c]);
            #end
            row_max = max(row_max, largest(p_0, p_1, p_2, p_3));
        }
        row_max = max(row_max, subgroupShuffleXor(row_max, 1u));

        row_sum = 0.0;
        #repeat i 2
        #repeat j D32
        out_$i_$j = result();
        #end
        #end
        var step = first_step;
        var keys = key_tiles[step / 2u];
        while step < last_step {
            let first_key = step % 2u * KEYS;
            // A second half without keys is no step.
            let step_after = step + select(1u, 2u, first_key == 0u && keys.y <= KEYS);
            let next_step = min(step_after, last_step - 1u);
            let next_keys = key_tiles[next_step / 2u];
            workgroupBarrier();
            #repeat e D32
            stage[load_row_$e / 16u][load_row_$e % 16u * K_STRIDE + load_column_$e] = next_$e;
            next_$e = v[tile_row(keys, first_key + load_row_$e) * row_stride + load_at_$e];
            #end
            workgroupBarrier();
            // Assigned: without initialiser a fragment is zeroed once per invocation, not once per iteration.
            #repeat i 2
            var score_$i = result();
            #end
            #repeat c D16
            let key_$c = subgroupMatrixLoad<right, col_major>(&stage[half], 2u * $c, K_STRIDE);
            #repeat i 2
            score_$i = subgroupMatrixMultiplyAccumulate(q_$i_$c, key_$c, score_$i);
            #end
            #end
            #repeat i 2
            subgroupMatrixStore<row_major>(&scores[subgroup], 16u * $i * SCORE_STRIDE, score_$i, SCORE_STRIDE);
            #end
            workgroupBarrier();
            let shift = bitcast<f32>(keys.z) * LOG2_E - row_max;
            #repeat c 4
            var p_$c = exp2(fma(score4(score_block, score_at + $c), vec4<f32>(scale), vec4<f32>(shift)));
            #end
            if first_key + KEYS > keys.y {
                #repeat c 4
                p_$c = masked(p_$c, first_key + 16u * part + 4u * $c, keys.y);
                #end
            }
            let sum4 = (p_0 + p_1) + (p_2 + p_3);
            row_sum += (sum4.x + sum4.y) + (sum4.z + sum4.w);
            scores[score_block][score_at] = packed8(p_0, p_1);
            scores[score_block][score_at + 1u] = packed8(p_2, p_3);
            #repeat e D32
            stage[load_column_$e / HALF_DIM8][load_row_$e * V_STRIDE + load_column_$e % HALF_DIM8] = next_$e;
            #end
            #repeat e D32
            next_$e = k[tile_row(next_keys, next_step % 2u * KEYS + load_row_$e) * row_stride + load_at_$e];
            #end
            workgroupBarrier();
            #repeat i 2
            #repeat c 2
            let p_$i_$c = subgroupMatrixLoad<left, row_major>(
                &scores[subgroup - half + $c], 16u * $i * SCORE_STRIDE, SCORE_STRIDE,
            );
            #end
            #end
            #repeat c 2
            #repeat j D32
            let value_$c_$j = subgroupMatrixLoad<right, row_major>(
                &stage[half], 16u * $c * V_STRIDE + 2u * $j, V_STRIDE,
            );
            #repeat i 2
            out_$i_$j = subgroupMatrixMultiplyAccumulate(p_$i_$c, value_$c_$j, out_$i_$j);
            #end
            #end
            #end
            step = step_after;
            keys = next_keys;
        }
        if rounds == steps {
            break;
        }
        if row_sum > LARGEST_F16 {
            atomicStore(&too_large, 1u);
        }
        if workgroupUniformLoad(&too_large) == 0u {
            break;
        }
        rounds = steps;
        apart = 1u;
    }

    let sum = row_sum + subgroupShuffleXor(row_sum, 1u);
    let factor = select(0.0, 1.0 / sum, sum > 0.0);
    if part == 0u && row < queries.y {
        store_lse(turn.head, queries.x + row, row_max * LN_2, sum);
    }
    #repeat j D32
    workgroupBarrier();
    #repeat i 2
    subgroupMatrixStore<row_major>(&scores[subgroup], 16u * $i * SCORE_STRIDE, out_$i_$j, SCORE_STRIDE);
    #end
    workgroupBarrier();
    if row < queries.y {
        let at_$j = 2u * ((queries.x + row) * row_stride + head_at + part * HALF_DIM8 + 2u * $j);
        #repeat c 4
        store(at_$j + $c, score4(score_block, score_at + $c) * factor, strength);
        #end
    }
    #end
}
