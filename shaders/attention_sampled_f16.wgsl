// out[i, h, :] = softmax_j( q[i, h] . k[j, h] * scale + bias(tile of j) ) . v[j, h], f16 products, a sampled maximum
//
// Operands, tiles, results, division of work and sums are those of attention_f16.wgsl; out is written packed. For
// `weft tune` to try: without a running maximum a tile of keys takes three barriers less and rescales nothing.
// Probabilities are relative to the largest logit of a sample of up to SAMPLES key tiles, starting at the queries' own
// place in the list, and smaller by 2^HEADROOM: a logit may exceed the sample's by 2 * HEADROOM (5.5 in powers of e)
// before a probability exceeds 2^HEADROOM, and f16 sums of 32 of them times values come near the end of f16. Every
// thread keeps its largest exponent; should one not fit, the workgroup starts again with the maximum of all keys.
// Products are `part`: f16, or f32 where there is no shader-f16. A query without keys gives zeros and lse = -inf.
// Preconditions (op): HEAD_DIM 32 to 128, a multiple of 32.

#import shared/attention_sampled
#import shared/attention_tiles
#import shared/pairs_<part>

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> query_tiles: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> key_tiles: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> perturbation: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const HEAD_DIM8 = HEAD_DIM / 8u;
const CHUNK8 = 4u;
const CHUNK_STRIDE = CHUNK8 + 1u; // padded against bank conflicts, as are probabilities
const STAGE_K = 64u * CHUNK_STRIDE;
const V_ROWS = 32u; // rows of v in the stage
const P_STRIDE = 5u;
const SAMPLES = 8u;

var<workgroup> stage: array<vec4<u32>, 2u * STAGE_K>;
var<workgroup> probabilities: array<vec4<u32>, 64u * P_STRIDE>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let queries = query_tiles[params.list_stride * group.y + group.x];
    let strength = head_strength(group.y);
    let count = select(queries.w - queries.z, 0u, strength == 1.0);
    let offset = count * group.x / params.num_query_tiles;
    let row_stride = params.heads * HEAD_DIM8;
    let head_at = group.y * HEAD_DIM8;
    let scale = params.scale * LOG2_E;
    let tx = index / 64u * 8u + index % 8u;
    let ty = index / 32u % 2u * 4u + index / 8u % 4u;

    #repeat i 8
    var low_$i = vec4<f32>();
    var high_$i = vec4<f32>();
    var sum_$i = 0.0;
    var reference_$i = LOWEST; // what exponents of a row are relative to
    #end
    var largest = LOWEST;
    // A thread fetches two groups of q and two of k, or four of v, while the ones before are multiplied.
    let load_row = index / CHUNK8;
    let load_column = index % CHUNK8;
    let first_keys = key_tiles[min(queries.z + offset, arrayLength(&key_tiles) - 1u)];
    #repeat e 2
    let q_at_$e = tile_row(queries, load_row + 32u * $e) * row_stride + head_at + load_column;
    var next_0_$e = q[q_at_$e];
    var next_1_$e = k[tile_row(first_keys, load_row + 32u * $e) * row_stride + head_at + load_column];
    #repeat h 2
    let v_row_$h_$e = (index + 256u * $h + 128u * $e) / HEAD_DIM8;
    let v_column_$h_$e = head_at + (index + 256u * $h + 128u * $e) % HEAD_DIM8;
    #end
    #end

    // First the sample, a stride apart, then everything; should it not do, both again with all keys as the sample.
    var is_sampling = true;
    var stride = max(count / SAMPLES, 8u); // of short lists a sample must not cost more than it saves
    var next_turn = 0u;
    for (var turn = 0u; turn < count; turn = next_turn) {
        let step = select(1u, stride, is_sampling);
        next_turn = select(0u, turn + step, turn + step < count);
        let keys = key_tiles[queries.z + (offset + turn) % count];
        let next_keys = key_tiles[queries.z + (offset + next_turn) % count];
        #repeat i 8
        var score_$i = vec4<f32>();
        #end
        for (var chunk = 0u; chunk < HEAD_DIM8; chunk += CHUNK8) {
            workgroupBarrier();
            // Key 4 a + b of the tile lies in row 16 b + a, so that a thread's four keys are neighbours.
            let stage_at = load_row * CHUNK_STRIDE + load_column;
            let stage_k_at = STAGE_K + (load_row % 4u * 16u + load_row / 4u) * CHUNK_STRIDE + load_column;
            #repeat e 2
            stage[stage_at + 32u * $e * CHUNK_STRIDE] = sixteenths(next_0_$e);
            stage[stage_k_at + 8u * $e * CHUNK_STRIDE] = next_1_$e;
            #end
            let is_last = chunk + CHUNK8 >= HEAD_DIM8;
            if !is_last || is_sampling {
                let column = select(chunk + CHUNK8, 0u, is_last);
                let next_tile = select(keys, next_keys, is_last);
                #repeat e 2
                next_0_$e = q[q_at_$e + column];
                next_1_$e =
                    k[tile_row(next_tile, load_row + 32u * $e) * row_stride + head_at + load_column + column];
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
            var part_$i_$j = vec2<part>();
            #end
            #end
            #repeat c 4
            {
                #repeat j 4
                let k_$j = stage[STAGE_K + (tx + 16u * $j) * CHUNK_STRIDE + $c];
                #repeat p 4
                let k_$j_$p = pair(k_$j[$p]);
                #end
                #end
                #repeat i 8
                let q_$i = stage[(ty + 8u * $i) * CHUNK_STRIDE + $c];
                #repeat p 4
                let q_$i_$p = pair(q_$i[$p]);
                #repeat j 4
                part_$i_$j = fma(q_$i_$p, k_$j_$p, part_$i_$j);
                #end
                #end
                #end
            }
            #end
            #repeat i 8
            score_$i += sums_of(part_$i_0, part_$i_1, part_$i_2, part_$i_3);
            #end
        }
        let bias = bitcast<f32>(keys.z) * LOG2_E;
        let is_key = vec4<u32>(0u, 1u, 2u, 3u) + 4u * tx < vec4<u32>(keys.y);
        if is_sampling {
            #repeat i 8
            score_$i = select(vec4<f32>(NO_KEY), score_$i * (16.0 * scale) + bias, is_key);
            reference_$i = max(reference_$i, largest_of(score_$i));
            #end
            if next_turn == 0u {
                workgroupBarrier();
                #repeat i 8
                share(ty + 8u * $i, tx, reference_$i);
                #end
                workgroupBarrier();
                #repeat i 8
                reference_$i = row_largest(ty + 8u * $i) + HEADROOM;
                #end
                is_sampling = false;
            }
            continue;
        }
        #repeat i 8
        score_$i = fma(score_$i, vec4<f32>(16.0 * scale), vec4<f32>(bias - reference_$i));
        score_$i = select(vec4<f32>(NO_KEY), score_$i, is_key);
        largest = max(largest, largest_of(score_$i));
        score_$i = exp2(score_$i);
        sum_$i += (score_$i.x + score_$i.y) + (score_$i.z + score_$i.w);
        #end
        for (var first = 0u; first < max(keys.y, 1u); first += V_ROWS) {
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
            if first + V_ROWS < keys.y {
                #repeat e 2
                #repeat h 2
                next_$h_$e = v[tile_row(keys, first + V_ROWS + v_row_$h_$e) * row_stride + v_column_$h_$e];
                #end
                #end
            } else {
                #repeat e 2
                next_0_$e = q[q_at_$e];
                next_1_$e = k[tile_row(next_keys, load_row + 32u * $e) * row_stride + head_at + load_column];
                #end
            }
            workgroupBarrier();
            #repeat i 8
            #repeat d 4
            var part_$i_$d = vec2<part>();
            #end
            #end
            #repeat w 4
            {
                #repeat r 8
                let v_$r = stage[(8u * $w + $r) * HEAD_DIM8 + min(tx, HEAD_DIM8 - 1u)];
                #repeat d 4
                let v_$r_$d = pair(v_$r[$d]);
                #end
                #end
                #repeat i 8
                let p_$i = probabilities[(ty + 8u * $i) * P_STRIDE + $w];
                #repeat r 8
                let p_$i_$r = vec2<part>(pair(p_$i[$r / 2])[$r % 2]);
                #repeat d 4
                part_$i_$d = fma(p_$i_$r, v_$r_$d, part_$i_$d);
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
        if next_turn == 0u {
            if stride == 1u || does_fit(largest) {
                break;
            }
            is_sampling = true;
            stride = 1u;
            #repeat i 8
            low_$i = vec4<f32>();
            high_$i = vec4<f32>();
            sum_$i = 0.0;
            reference_$i = LOWEST;
            #end
        }
    }

    workgroupBarrier();
    #repeat i 8
    share(ty + 8u * $i, tx, sum_$i);
    #end
    workgroupBarrier();
    #repeat i 8
    if ty + 8u * $i < queries.y && tx < HEAD_DIM8 {
        let sum = row_total(ty + 8u * $i);
        if tx == 0u {
            store_lse(group.y, queries.x + ty + 8u * $i, reference_$i * LN_2, sum);
        }
        let factor = select(0.0, 1.0 / sum, sum > 0.0);
        let at = (queries.x + ty + 8u * $i) * row_stride + head_at + tx;
        store(at, low_$i * factor, high_$i * factor, strength);
    }
    #end
}
