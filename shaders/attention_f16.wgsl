// out[i, h, :] = softmax_j( q[i, h] . k[j, h] * scale + bias(tile of j) ) . v[j, h], with f16 products and f32 sums
//
// Operands, tiles and results are those of attention.wgsl, f16, read eight at a time; needs shader-f16. The division of
// work is that of attention.wgsl, too: 128 threads compute 64 x 64 scores, 8 x 4 each, and the output, 8 x 8 each.
// Products are added up in f16: of even and of odd columns of a head, 16 at a time, then these sums; and of 32 keys.
// q is divided by 16 while it is staged, so that such sums stay finite for logits up to 6e4; the rest is f32.
// Loops over what is staged are written out (H200: 47.6 against 40.1 TFLOP/s).
// A query without keys gives zeros, lse = -inf. Preconditions (op): HEAD_DIM 32 to 128, a multiple of 32; scale > 0.

#import shared/attention_rows
#import shared/attention_tiles
#import shared/f16_operands
#import shared/f16_products
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

const HEAD_DIM8 = HEAD_DIM / 8u;
const CHUNK8 = 4u;
const CHUNK_STRIDE = CHUNK8 + 1u; // padded against bank conflicts, as are probabilities
const STAGE_K = 64u * CHUNK_STRIDE;
const V_ROWS = 32u; // rows of v in the stage
const P_STRIDE = 5u;
const NO_SUM = -1.0e30; // less than any sum of f16 products

var<workgroup> stage: array<vec4<u32>, 2u * STAGE_K>;
var<workgroup> probabilities: array<vec4<u32>, 64u * P_STRIDE>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let turn = turn_of(group);
    let queries = query_tiles[params.list_stride * turn.head + turn.tile];
    let strength = head_strength(turn.head);
    let last_tile = select(queries.w, queries.z, strength == 1.0);
    let row_stride = params.heads * HEAD_DIM8;
    let head_at = turn.head * HEAD_DIM8;
    let scale = 16.0 * params.scale * LOG2_E;
    // 32 neighbouring threads take 4 x 8 places of a tile, so that they read few rows of either operand.
    let tx = index / 64u * 8u + index % 8u;
    let ty = index / 32u % 2u * 4u + index / 8u % 4u;

    #repeat i 8
    var low_$i = vec4<f32>();
    var high_$i = vec4<f32>();
    var sum_$i = 0.0;
    #end
    // A thread fetches two groups of q and two of k, or four of v, while the ones before are multiplied.
    let load_row = index / CHUNK8;
    let load_column = index % CHUNK8;
    #repeat e 2
    let q_at_$e = tile_row(queries, load_row + 32u * $e) * row_stride + head_at + load_column;
    #repeat h 2
    let v_row_$h_$e = (index + 256u * $h + 128u * $e) / HEAD_DIM8;
    let v_column_$h_$e = head_at + (index + 256u * $h + 128u * $e) % HEAD_DIM8;
    var next_$h_$e = vec4<u32>();
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
        #repeat j 4
        var sums_$i_$j = vec2<f16>();
        #end
        #end
        for (var chunk = 0u; chunk < HEAD_DIM8; chunk += CHUNK8) {
            workgroupBarrier();
            // Key 4 a + b of the tile lies in row 16 b + a, so that a thread's four keys are neighbours.
            let stage_at = load_row * CHUNK_STRIDE + load_column;
            let stage_k_at = STAGE_K + (load_row % 4u * 16u + load_row / 4u) * CHUNK_STRIDE + load_column;
            #repeat e 2
            stage[stage_at + 32u * $e * CHUNK_STRIDE] = sixteenth(next_0_$e);
            stage[stage_k_at + 8u * $e * CHUNK_STRIDE] = next_1_$e;
            #end
            if chunk + CHUNK8 < HEAD_DIM8 {
                #repeat e 2
                next_0_$e = q[q_at_$e + chunk + CHUNK8];
                next_1_$e =
                    k[tile_row(keys, load_row + 32u * $e) * row_stride + head_at + load_column + chunk + CHUNK8];
                #end
            } else {
                #repeat e 2
                #repeat h 2
                next_$h_$e = v[tile_row(keys, v_row_$h_$e) * row_stride + v_column_$h_$e];
                #end
                #end
            }
            workgroupBarrier();
            #repeat i 8
            #repeat j 4
            var part_$i_$j = vec2<f16>();
            #end
            #end
            #repeat c 4
            {
                #repeat j 4
                let k_$j = stage[STAGE_K + (tx + 16u * $j) * CHUNK_STRIDE + $c];
                #end
                #repeat i 8
                let q_$i = stage[(ty + 8u * $i) * CHUNK_STRIDE + $c];
                #repeat j 4
                part_$i_$j = add_products(part_$i_$j, q_$i, k_$j);
                #end
                #end
            }
            #end
            #repeat i 8
            #repeat j 4
            sums_$i_$j += part_$i_$j;
            #end
            #end
        }
        #repeat i 8
        var score_$i = vec4<f32>(both(sums_$i_0), both(sums_$i_1), both(sums_$i_2), both(sums_$i_3));
        #end

        // Every thread: the largest of its 4 keys in 8 rows, and only its logit; then 64 threads: the largest of a row.
        let bias = select(bitcast<f32>(keys.z) * LOG2_E, NO_KEY, keys.y == 0u);
        if keys.y < 64u {
            let is_key = vec4<u32>(0u, 1u, 2u, 3u) + 4u * tx < vec4<u32>(keys.y);
            #repeat i 8
            score_$i = select(vec4<f32>(NO_SUM), score_$i, is_key);
            #end
        }
        workgroupBarrier();
        #repeat i 8
        share(ty + 8u * $i, tx, max(max(score_$i.x, score_$i.y), max(score_$i.z, score_$i.w)) * scale + bias);
        #end
        workgroupBarrier();
        if index < 64u {
            raise_row_max(index);
        }
        workgroupBarrier();
        #repeat i 8
        {
            let factor = row_factor[ty + 8u * $i];
            score_$i = exp2(fma(score_$i, vec4<f32>(scale), vec4<f32>(bias - row_max[ty + 8u * $i])));
            sum_$i = sum_$i * factor + ((score_$i.x + score_$i.y) + (score_$i.z + score_$i.w));
            low_$i *= factor;
            high_$i *= factor;
        }
        #end
        for (var first = 0u; first < num_keys; first += V_ROWS) {
            workgroupBarrier();
            if tx / 8u == first / 32u {
                #repeat i 8
                let p_at_$i = (ty + 8u * $i) * P_STRIDE + tx % 8u / 2u;
                probabilities[p_at_$i][tx % 2u * 2u] = pack2x16float(score_$i.xy);
                probabilities[p_at_$i][tx % 2u * 2u + 1u] = pack2x16float(score_$i.zw);
                #end
            }
            #repeat e 2
            #repeat h 2
            stage[index + 256u * $h + 128u * $e] = next_$h_$e;
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
            #repeat i 8
            #repeat d 4
            var part_$i_$d = vec2<f16>();
            #end
            #end
            #repeat w 4
            {
                #repeat r 8
                let v_$r = stage[(8u * $w + $r) * HEAD_DIM8 + min(tx, HEAD_DIM8 - 1u)];
                #end
                #repeat i 8
                let p_$i = probabilities[(ty + 8u * $i) * P_STRIDE + $w];
                #repeat r 8
                let p_$i_$r = vec2<f16>(pair(p_$i[$r / 2])[$r % 2]);
                #repeat d 4
                part_$i_$d = fma(p_$i_$r, pair(v_$r[$d]), part_$i_$d);
                #end
                #end
                #end
            }
            #end
            #repeat i 8
            low_$i += vec4<f32>(vec2<f32>(part_$i_0), vec2<f32>(part_$i_1));
            high_$i += vec4<f32>(vec2<f32>(part_$i_2), vec2<f32>(part_$i_3));
            #end
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
    if ty + 8u * $i < queries.y && tx < HEAD_DIM8 {
        let sum = row_total(ty + 8u * $i);
        let factor = select(0.0, 1.0 / sum, sum > 0.0);
        let at = (queries.x + ty + 8u * $i) * row_stride + head_at + tx;
        low_$i *= factor;
        high_$i *= factor;
        if params.perturbation_use == 2u {
            let own = v[at];
            low_$i = mix(low_$i, vec4<f32>(unpack2x16float(own.x), unpack2x16float(own.y)), strength);
            high_$i = mix(high_$i, vec4<f32>(unpack2x16float(own.z), unpack2x16float(own.w)), strength);
        }
        out[2u * at] = vec4<f16>(low_$i);
        out[2u * at + 1u] = vec4<f16>(high_$i);
    }
    #end
}

// One number a row of each of 16 threads, in the stage while it is not in use.
fn share(row: u32, thread: u32, value: f32) {
    stage[5u * row + thread / 4u][thread % 4u] = bitcast<u32>(value);
}

fn shared4(row: u32, at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(stage[5u * row + at]);
}
