// out[i, h, :] = softmax_j( q[i, h] . k[j, h] * scale + bias(tile of j) ) . v[j, h],  lse[h, i] = log of the sum.
//
// q, out       [num_queries, heads * HEAD_DIM] elem
// k, v         [num_keys, heads * HEAD_DIM] elem
// lse          [heads, num_queries] f32
// query_tiles  [lists, num_query_tiles] of (first row, rows, first key tile, end of its key tiles): at most 64 rows
//              each, in any order; head h reads list h when lists = heads, list 0 when lists = 1; ranges of key tiles
//              may be shared
// key_tiles    (first row, rows, bits of an f32 logit bias, 0): at most 64 rows each
// perturbation [heads] f32: SoftPAG (2506.10978), out = (1 - u) * out + u * v of the query's own row
//
// FlashAttention-2 (2307.08691): one workgroup of 128 threads takes one query tile of one head and walks its key tiles;
// scores, statistics and the un-normalised output are f32, with one division at the end. A thread computes 8 x 4 of the
// 64 x 64 scores of a tile (rows 8 apart, neighbouring keys) and 8 rows of up to 8 columns of output, in registers. q
// and k are staged in workgroup memory 16 columns at a time, then v by rows, with probabilities for 32 keys. What comes
// next is fetched meanwhile, in front of a barrier: behind it the compiler would fetch when the values are needed.
// A query without keys gives zeros and lse = -inf. Preconditions (op): HEAD_DIM 32 to 128, a multiple of 32.
// Matches torch.nn.functional.scaled_dot_product_attention for a mask made of whole tiles.

#import shared/add_dot
#import shared/attention_rows
#import shared/attention_tiles
#import shared/powers_of_two

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
const CHUNK_STRIDE = CHUNK4 + 1u; // padded against bank conflicts, as are probabilities
const STAGE_K = 64u * CHUNK_STRIDE;
const V_ROWS = select(16u, 32u, HEAD_DIM4 <= 16u); // rows of v in the stage
const P_STRIDE = 9u;

var<workgroup> stage: array<vec4<f32>, 2u * STAGE_K>;
var<workgroup> probabilities: array<vec4<f32>, 64u * P_STRIDE>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let turn = turn_of(group);
    let queries = query_tiles[params.list_stride * turn.head + turn.tile];
    let strength = head_strength(turn.head);
    let last_tile = select(queries.w, queries.z, strength == 1.0);
    let row_stride = params.heads * HEAD_DIM4;
    let head_at = turn.head * HEAD_DIM4;
    let scale = params.scale * LOG2_E;
    // 32 neighbouring threads take 4 x 8 places of a tile, so that they read few rows of either operand.
    let tx = index / 64u * 8u + index % 8u;
    let ty = index / 32u % 2u * 4u + index / 8u % 4u;

    #repeat i 8
    #repeat d OUT_COLUMNS
    var out_$i_$d = vec4<f32>();
    #end
    var sum_$i = 0.0;
    #end
    // A thread fetches two groups of q and two of k, or four of v, while the ones before are multiplied.
    let load_row = index / CHUNK4;
    let load_column = index % CHUNK4;
    #repeat e 2
    let q_at_$e = tile_row(queries, load_row + 32u * $e) * row_stride + head_at + load_column;
    #repeat h 2
    let v_row_$h_$e = (index + 256u * $h + 128u * $e) / HEAD_DIM4;
    let v_column_$h_$e = head_at + (index + 256u * $h + 128u * $e) % HEAD_DIM4;
    var next_$h_$e = vec4<elem>();
    #end
    #end
    if queries.z < last_tile {
        #repeat e 2
        next_0_$e = q[q_at_$e];
        next_1_$e = k[tile_row(key_tiles[queries.z], load_row + 32u * $e) * row_stride + head_at + load_column];
        #end
    }
    if index < 64u {
        row_max[index] = LOWEST;
    }

    for (var tile = queries.z; tile < last_tile; tile++) {
        let keys = key_tiles[tile];
        let num_keys = max(keys.y, 1u);
        #repeat i 8
        var score_$i = vec4<f32>();
        #end
        for (var chunk = 0u; chunk < HEAD_DIM4; chunk += CHUNK4) {
            workgroupBarrier();
            // Key 4 a + b of the tile lies in row 16 b + a, so that a thread's four keys are neighbours.
            let stage_at = load_row * CHUNK_STRIDE + load_column;
            let stage_k_at = STAGE_K + (load_row % 4u * 16u + load_row / 4u) * CHUNK_STRIDE + load_column;
            #repeat e 2
            stage[stage_at + 32u * $e * CHUNK_STRIDE] = vec4<f32>(next_0_$e);
            stage[stage_k_at + 8u * $e * CHUNK_STRIDE] = vec4<f32>(next_1_$e);
            #end
            if chunk + CHUNK4 < HEAD_DIM4 {
                #repeat e 2
                next_0_$e = q[q_at_$e + chunk + CHUNK4];
                next_1_$e =
                    k[tile_row(keys, load_row + 32u * $e) * row_stride + head_at + load_column + chunk + CHUNK4];
                #end
            } else {
                #repeat e 2
                #repeat h 2
                next_$h_$e = v[tile_row(keys, v_row_$h_$e) * row_stride + v_column_$h_$e];
                #end
                #end
            }
            workgroupBarrier();
            for (var c = 0u; c < CHUNK4; c++) {
                #repeat j 4
                let k_$j = stage[STAGE_K + (tx + 16u * $j) * CHUNK_STRIDE + c];
                #end
                #repeat i 8
                let q_$i = stage[(ty + 8u * $i) * CHUNK_STRIDE + c];
                #repeat j 4
                score_$i[$j] = add_dot(score_$i[$j], q_$i, k_$j);
                #end
                #end
            }
        }

        // Every thread: the largest of its 4 keys in 8 rows; then 64 threads: the largest of a row.
        let bias = bitcast<f32>(keys.z) * LOG2_E;
        #repeat i 8
        score_$i = score_$i * scale + bias;
        if keys.y < 64u {
            let is_key = vec4<u32>(0u, 1u, 2u, 3u) + 4u * tx < vec4<u32>(keys.y);
            score_$i = select(vec4<f32>(NO_KEY), score_$i, is_key);
        }
        #end
        workgroupBarrier();
        #repeat i 8
        share(ty + 8u * $i, tx, max(max(score_$i.x, score_$i.y), max(score_$i.z, score_$i.w)));
        #end
        workgroupBarrier();
        if index < 64u {
            raise_row_max(index);
        }
        workgroupBarrier();
        // Maxima seldom grow once a few tiles are seen.
        var least_factor = 1.0;
        #repeat i 8
        least_factor = min(least_factor, row_factor[ty + 8u * $i]);
        #end
        if least_factor < 1.0 {
            #repeat i 8
            let factor_$i = row_factor[ty + 8u * $i];
            sum_$i *= factor_$i;
            #repeat d OUT_COLUMNS
            out_$i_$d *= factor_$i;
            #end
            #end
        }
        #repeat i 8
        score_$i = exp2(score_$i - row_max[ty + 8u * $i]);
        sum_$i += (score_$i.x + score_$i.y) + (score_$i.z + score_$i.w);
        #end
        for (var first = 0u; first < num_keys; first += V_ROWS) {
            workgroupBarrier();
            if first % 32u == 0u && tx / 8u == first / 32u {
                #repeat i 8
                probabilities[(ty + 8u * $i) * P_STRIDE + tx % 8u] = score_$i;
                #end
            }
            #repeat e 2
            #repeat h 2
            stage[index + 256u * $h + 128u * $e] = vec4<f32>(next_$h_$e);
            #end
            #end
            if first + V_ROWS < num_keys {
                #repeat e 2
                #repeat h 2
                next_$h_$e = v[tile_row(keys, first + V_ROWS + v_row_$h_$e) * row_stride + v_column_$h_$e];
                #end
                #end
            } else {
                let next_keys = key_tiles[min(tile + 1u, last_tile - 1u)];
                #repeat e 2
                next_0_$e = q[q_at_$e];
                next_1_$e = k[tile_row(next_keys, load_row + 32u * $e) * row_stride + head_at + load_column];
                #end
            }
            workgroupBarrier();
            for (var row = 0u; row < V_ROWS; row += 4u) {
                #repeat d OUT_COLUMNS
                #repeat r 4
                let v_$d_$r = stage[(row + $r) * HEAD_DIM4 + min(tx + 16u * $d, HEAD_DIM4 - 1u)];
                #end
                #end
                #repeat i 8
                let p_$i = probabilities[(ty + 8u * $i) * P_STRIDE + (first % 32u + row) / 4u];
                #repeat d OUT_COLUMNS
                #repeat r 4
                out_$i_$d = fma(vec4<f32>(p_$i[$r]), v_$d_$r, out_$i_$d);
                #end
                #end
                #end
            }
        }
    }

    workgroupBarrier();
    #repeat i 8
    share(ty + 8u * $i, tx, sum_$i);
    #end
    workgroupBarrier();
    if index < queries.y {
        store_lse(turn.head, queries.x + index, row_max[index] * LN_2, row_total(index));
    }
    #repeat i 8
    if ty + 8u * $i < queries.y {
        let sum = row_total(ty + 8u * $i);
        let factor = select(0.0, 1.0 / sum, sum > 0.0);
        let at = (queries.x + ty + 8u * $i) * row_stride + head_at + tx;
        #repeat d OUT_COLUMNS
        if tx + 16u * $d < HEAD_DIM4 {
            var value = out_$i_$d * factor;
            if params.perturbation_use == 2u {
                value = mix(value, vec4<f32>(v[at + 16u * $d]), strength);
            }
            out[at + 16u * $d] = vec4<elem>(value);
        }
        #end
    }
    #end
}

// One number a row of each of 16 threads, in the stage while it is not in use.
fn share(row: u32, thread: u32, value: f32) {
    stage[5u * row + thread / 4u][thread % 4u] = value;
}

fn shared4(row: u32, at: u32) -> vec4<f32> {
    return stage[5u * row + at];
}
