// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] ), by outer products in f16 with f32 sums
//
// Operands are those of linear_f16.wgsl, bias and out bound as four columns at a time; so is the result. For `weft
// tune` to try: linear_f16.wgsl reads 12 vectors of workgroup memory for 128 pairs of multiply-adds, this 8 (ROWS8 =
// 1) or 6 (ROWS8 = 2), and a sum takes half a register.
// One workgroup of 16 * TY threads computes a tile of (8 * ROWS8 * TY) x 128 elements; a thread computes ROWS8
// blocks of 8 x 8, 8 * TY rows apart. A stage holds 8 * TILE_K8 columns of k, each as packed f16 along rows. Threads
// take eight k of two neighbouring rows, X_LOADS times for x and W_LOADS times for the weight, and scatter them as
// pairs; the place of a group of rows is exchanged (xor) by the group of k, so that they write to different banks.
// What comes next is fetched meanwhile. UNROLL groups of k are written out in a turn of the loop.
// Products are `part`, f16 (or f32 where there is no shader-f16), and added up in it over a stage, then in f32: 32
// terms, as in linear_f16.wgsl. Preconditions (op): k is a multiple of 8, n of 4, TY * ROWS8 of 8; whole loads a
// thread; TILE_K8 is 2, 4 or 8.

#import shared/pairs_<part>
#import shared/weight8_<storage>
#import shared/activation
#import shared/store_columns4

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<out_elem>>;

const THREADS = 16u * TY;
const TILE_M8 = TY * ROWS8;
const TILE_N8 = 16u;
const EXCHANGE = 8u / TILE_K8;

// [k in the stage][group of eight rows]
var<workgroup> x_tile: array<vec4<u32>, 8u * TILE_K8 * TILE_M8>;
var<workgroup> weight_tile: array<vec4<u32>, 8u * TILE_K8 * TILE_N8>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = group.y * 8u * TILE_M8;
    let first_column = group.x * 8u * TILE_N8;
    let k8_end = params.k / 8u;
    let tx = index / 32u % 2u * 8u + index % 8u;
    let ty = index / 64u * 4u + index / 8u % 4u;
    let stage_column = index % TILE_K8;
    let stage_pair = index / TILE_K8;
    let in_group = stage_pair % 4u;

    #repeat i ROWS8
    #repeat p 4
    #repeat h 2
    var low_$i_$p_$h = vec4<f32>();
    var high_$i_$p_$h = vec4<f32>();
    #end
    #end
    #end
    let start = min(stage_column, k8_end - 1u);
    #repeat e X_LOADS
    let x_pair_$e = stage_pair + $e * (THREADS / TILE_K8);
    let x_to_$e = 8u * stage_column * TILE_M8 + ((x_pair_$e / 4u) ^ (EXCHANGE * stage_column));
    #repeat h 2
    let x_at_$e_$h = min(first_row + 2u * x_pair_$e + $h, params.m - 1u) * k8_end;
    var next_x_$e_$h = x[x_at_$e_$h + start];
    #end
    #end
    #repeat e W_LOADS
    let weight_pair_$e = stage_pair + $e * (THREADS / TILE_K8);
    let weight_to_$e = 8u * stage_column * TILE_N8 + ((weight_pair_$e / 4u) ^ (EXCHANGE * stage_column));
    #repeat h 2
    let weight_at_$e_$h = min(first_column + 2u * weight_pair_$e + $h, params.n - 1u) * k8_end;
    var next_weight_$e_$h = fetch_weight8(weight_at_$e_$h + start);
    #end
    #end

    for (var k8 = 0u; k8 < k8_end; k8 += TILE_K8) {
        workgroupBarrier();
        let inside = k8 + stage_column < k8_end;
        #repeat e X_LOADS
        {
            let even = select(vec4<u32>(), next_x_$e_0, inside);
            let odd = select(vec4<u32>(), next_x_$e_1, inside);
            #repeat d 4
            x_tile[x_to_$e + (2 * $d) * TILE_M8][in_group] = first_halves(even[$d], odd[$d]);
            x_tile[x_to_$e + (2 * $d + 1) * TILE_M8][in_group] = second_halves(even[$d], odd[$d]);
            #end
        }
        #end
        #repeat e W_LOADS
        {
            let even = staged_weight(next_weight_$e_0);
            let odd = staged_weight(next_weight_$e_1);
            #repeat d 4
            weight_tile[weight_to_$e + (2 * $d) * TILE_N8][in_group] = first_halves(even[$d], odd[$d]);
            weight_tile[weight_to_$e + (2 * $d + 1) * TILE_N8][in_group] = second_halves(even[$d], odd[$d]);
            #end
        }
        #end
        // In front of the barrier: behind it the compiler would fetch when the values are needed.
        let next = min(k8 + TILE_K8 + stage_column, k8_end - 1u);
        #repeat h 2
        #repeat e X_LOADS
        next_x_$e_$h = x[x_at_$e_$h + next];
        #end
        #repeat e W_LOADS
        next_weight_$e_$h = fetch_weight8(weight_at_$e_$h + next);
        #end
        #end
        workgroupBarrier();
        #repeat i ROWS8
        #repeat p 4
        #repeat h 2
        #repeat d 4
        var part_$i_$p_$h_$d = vec2<part>();
        #end
        #end
        #end
        #end
        for (var c = 0u; c < TILE_K8; c += UNROLL) {
            #repeat u UNROLL
            #repeat e 8
            {
                let k = 8u * (c + $u) + $e;
                let exchange = EXCHANGE * (c + $u);
                let w = weight_tile[k * TILE_N8 + (tx ^ exchange)];
                #repeat d 4
                let w_$d = pair(w[$d]);
                #end
                #repeat i ROWS8
                let a_$i = x_tile[k * TILE_M8 + ((ty + TY * $i) ^ exchange)];
                #repeat p 4
                let a_$i_$p = pair(a_$i[$p]);
                #repeat h 2
                #repeat d 4
                part_$i_$p_$h_$d = fma(vec2<part>(a_$i_$p[$h]), w_$d, part_$i_$p_$h_$d);
                #end
                #end
                #end
                #end
            }
            #end
            #end
        }
        #repeat i ROWS8
        #repeat p 4
        #repeat h 2
        low_$i_$p_$h += vec4<f32>(vec2<f32>(part_$i_$p_$h_0), vec2<f32>(part_$i_$p_$h_1));
        high_$i_$p_$h += vec4<f32>(vec2<f32>(part_$i_$p_$h_2), vec2<f32>(part_$i_$p_$h_3));
        #end
        #end
        #end
    }

    let column4 = first_column / 4u + 2u * tx;
    #repeat i ROWS8
    #repeat p 4
    #repeat h 2
    store(first_row + 8u * (ty + TY * $i) + 2u * $p + $h, column4, low_$i_$p_$h);
    store(first_row + 8u * (ty + TY * $i) + 2u * $p + $h, column4 + 1u, high_$i_$p_$h);
    #end
    #end
    #end
}

// The first, and the second, f16 of two packed pairs.
fn first_halves(even: u32, odd: u32) -> u32 {
    return (even & 0xffffu) | (odd << 16u);
}

fn second_halves(even: u32, odd: u32) -> u32 {
    return (even >> 16u) | (odd & 0xffff0000u);
}
