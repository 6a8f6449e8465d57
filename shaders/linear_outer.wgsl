// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] ), by outer products
//
// Operands are those of linear.wgsl, bias and out bound as four columns at a time; so is the result. For `weft tune`
// to try: the operands lie in workgroup memory the other way round.
// One workgroup of 16 * TY threads computes a tile of (4 * ROWS4 * TY) x (64 * COLUMNS4) elements; a thread computes
// blocks of 4 x 4, ROWS4 of them 4 * TY rows apart and COLUMNS4 of them 64 columns apart. A stage holds 4 * TILE_K4
// columns of k, each as vectors along rows: for every k a thread reads ROWS4 + COLUMNS4 vectors and needs no others.
// Threads scatter four k each, X_LOADS times for x and W_LOADS times for the weight; the place of a group of rows is
// exchanged (xor) by the group of k, so that they write to different banks. What comes next is fetched meanwhile.
// UNROLL groups of k are written out in a turn of the loop.
// Sums are f32. Preconditions (op): k and n are multiples of 4, TY * ROWS4 of 8; whole loads a thread; TILE_K4 is 2,
// 4 or 8.
// Matches torch.nn.functional.linear followed by the activation.

#import shared/weight_<storage>
#import shared/activation
#import shared/store_columns4

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<out_elem>>;

const THREADS = 16u * TY;
const TILE_M4 = TY * ROWS4;
const TILE_N4 = 16u * COLUMNS4;
const EXCHANGE = 8u / TILE_K4;

// [k in the stage][group of four rows]
var<workgroup> x_tile: array<vec4<f32>, 4u * TILE_K4 * TILE_M4>;
var<workgroup> weight_tile: array<vec4<f32>, 4u * TILE_K4 * TILE_N4>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = group.y * 4u * TILE_M4;
    let first_column = group.x * 4u * TILE_N4;
    let k4_end = params.k / 4u;
    // 32 neighbouring threads take 4 x 8 places of the tile, so that they read few rows of either operand.
    let tx = index / 32u % 2u * 8u + index % 8u;
    let ty = index / 64u * 4u + index / 8u % 4u;
    let stage_column = index % TILE_K4;
    let stage_row = index / TILE_K4;
    let in_group = stage_row % 4u;

    #repeat i ROWS4
    #repeat b 4
    #repeat j COLUMNS4
    var sum_$i_$b_$j = vec4<f32>();
    #end
    #end
    #end
    #repeat e X_LOADS
    let x_row_$e = stage_row + $e * (THREADS / TILE_K4);
    let x_to_$e = 4u * stage_column * TILE_M4 + ((x_row_$e / 4u) ^ (EXCHANGE * stage_column));
    let x_at_$e = min(first_row + x_row_$e, params.m - 1u) * k4_end;
    #end
    #repeat e W_LOADS
    let weight_row_$e = stage_row + $e * (THREADS / TILE_K4);
    let weight_to_$e = 4u * stage_column * TILE_N4 + ((weight_row_$e / 4u) ^ (EXCHANGE * stage_column));
    let weight_at_$e = min(first_column + weight_row_$e, params.n - 1u);
    #end

    let start = min(stage_column, k4_end - 1u);
    #repeat e X_LOADS
    var next_x_$e = x[x_at_$e + start];
    #end
    #repeat e W_LOADS
    var next_weight_$e = fetch_weight(weight_at_$e, start);
    #end

    for (var k4 = 0u; k4 < k4_end; k4 += TILE_K4) {
        workgroupBarrier();
        let inside = f32(k4 + stage_column < k4_end);
        #repeat e X_LOADS
        let x_part_$e = vec4<f32>(next_x_$e) * inside;
        #repeat d 4
        x_tile[x_to_$e + $d * TILE_M4][in_group] = x_part_$e[$d];
        #end
        #end
        #repeat e W_LOADS
        let weight_part_$e = widen_weight(next_weight_$e);
        #repeat d 4
        weight_tile[weight_to_$e + $d * TILE_N4][in_group] = weight_part_$e[$d];
        #end
        #end
        // In front of the barrier: behind it the compiler would fetch when the values are needed.
        let next = min(k4 + TILE_K4 + stage_column, k4_end - 1u);
        #repeat e X_LOADS
        next_x_$e = x[x_at_$e + next];
        #end
        #repeat e W_LOADS
        next_weight_$e = fetch_weight(weight_at_$e, next);
        #end
        workgroupBarrier();
        for (var c = 0u; c < TILE_K4; c += UNROLL) {
            #repeat u UNROLL
            #repeat d 4
            {
                let k = 4u * (c + $u) + $d;
                let exchange = EXCHANGE * (c + $u);
                #repeat j COLUMNS4
                let w_$j = weight_tile[k * TILE_N4 + ((tx + 16u * $j) ^ exchange)];
                #end
                #repeat i ROWS4
                let a_$i = x_tile[k * TILE_M4 + ((ty + TY * $i) ^ exchange)];
                #repeat b 4
                #repeat j COLUMNS4
                sum_$i_$b_$j = fma(vec4<f32>(a_$i[$b]), w_$j, sum_$i_$b_$j);
                #end
                #end
                #end
            }
            #end
            #end
        }
    }

    #repeat i ROWS4
    #repeat b 4
    #repeat j COLUMNS4
    store(first_row + 4u * (ty + TY * $i) + $b, first_column / 4u + tx + 16u * $j, sum_$i_$b_$j);
    #end
    #end
    #end
}
