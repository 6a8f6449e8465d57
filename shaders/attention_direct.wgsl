// softmax(q k^T * scale + bias) v over lists of key tiles, without workgroup memory
//
// Operands, tiles and results are those of attention.wgsl. Here a thread takes four queries and walks the keys four at
// a time, all in private memory: on adapters that are really a CPU, barriers cost far more than re-reading a cache.
// One workgroup takes one query tile of one head, as there.

#import shared/attention_tiles

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

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let turn = turn_of(group);
    let queries = query_tiles[params.list_stride * turn.head + turn.tile];
    if 4u * local >= queries.y {
        return;
    }
    let strength = head_strength(turn.head);
    let last_tile = select(queries.w, queries.z, strength == 1.0);
    let row_stride = params.heads * HEAD_DIM4;
    let column = turn.head * HEAD_DIM4;

    #repeat i 4
    let q_at_$i = (queries.x + min(4u * local + $i, queries.y - 1u)) * row_stride + column;
    var max_$i = LOWEST;
    var sum_$i = 0.0;
    var out_$i: array<vec4<f32>, HEAD_DIM4>;
    #end

    for (var tile = queries.z; tile < last_tile; tile++) {
        let keys = key_tiles[tile];
        let bias = bitcast<f32>(keys.z);
        for (var first = 0u; first < keys.y; first += 4u) {
            let is_key = (vec4<u32>(0u, 1u, 2u, 3u) + first) < vec4<u32>(keys.y);
            #repeat j 4
            let key_at_$j = (keys.x + min(first + $j, keys.y - 1u)) * row_stride + column;
            #end

            #repeat i 4
            var p_$i = vec4<f32>();
            #end
            for (var d = 0u; d < HEAD_DIM4; d++) {
                #repeat j 4
                let k_$j = vec4<f32>(k[key_at_$j + d]);
                #end
                #repeat i 4
                let q_$i = vec4<f32>(q[q_at_$i + d]);
                p_$i += vec4<f32>(dot(q_$i, k_0), dot(q_$i, k_1), dot(q_$i, k_2), dot(q_$i, k_3));
                #end
            }

            #repeat i 4
            p_$i = select(vec4<f32>(NO_KEY), p_$i * params.scale + bias, is_key);
            let new_max_$i = max(max_$i, max(max(p_$i.x, p_$i.y), max(p_$i.z, p_$i.w)));
            let rescale_$i = exp(max_$i - new_max_$i);
            p_$i = exp(p_$i - new_max_$i);
            sum_$i = sum_$i * rescale_$i + dot(p_$i, vec4<f32>(1.0));
            max_$i = new_max_$i;
            #end

            for (var d = 0u; d < HEAD_DIM4; d++) {
                #repeat j 4
                let v_$j = vec4<f32>(v[key_at_$j + d]);
                #end
                #repeat i 4
                out_$i[d] = out_$i[d] * rescale_$i + p_$i.x * v_0 + p_$i.y * v_1 + p_$i.z * v_2 + p_$i.w * v_3;
                #end
            }
        }
    }

    #repeat i 4
    if 4u * local + $i < queries.y {
        let factor = select(0.0, 1.0 / sum_$i, sum_$i > 0.0);
        for (var d = 0u; d < HEAD_DIM4; d++) {
            var value = out_$i[d] * factor;
            if params.perturbation_use == 2u {
                value = mix(value, vec4<f32>(v[q_at_$i + d]), strength);
            }
            out[q_at_$i + d] = vec4<elem>(value);
        }
        store_lse(turn.head, queries.x + 4u * local + $i, max_$i, sum_$i);
    }
    #end
}
