// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] )
//
// x       [m, k] elem, row-major
// bias    [n] f32
// out     [m, n] out_elem
// weight  [n, k] as torch stores it, in one of three storages (shared/weight_<storage>)
//
// One workgroup of 16 * TY threads computes a tile of (TY * ROWS) x (64 * COLUMNS) elements; a thread computes ROWS
// rows, TY apart, of COLUMNS * 4 columns, 16 apart. Both operands are staged in workgroup memory as vec4 along k,
// TILE_K4 of them at a time (X_LOADS and W_LOADS a thread), rows padded by one vec4 against bank conflicts; the next
// ones are fetched meanwhile. Reading workgroup memory is what limits it: a thread computes what its registers hold.
// Sums are f32. Preconditions (op): k is a multiple of 4; the tile's rows of vec4 are whole numbers a thread.
// Matches torch.nn.functional.linear followed by the activation.

#import shared/add_dot
#import shared/paired_row
#import shared/weight_<storage>
#import shared/activation
#import shared/store_columns16

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<out_elem>;

const THREADS = 16u * TY;
const TILE_M = TY * ROWS;
const TILE_N = 64u * COLUMNS;
const STRIDE = TILE_K4 + 1u;

var<workgroup> x_tile: array<vec4<f32>, TILE_M * STRIDE>;
var<workgroup> weight_tile: array<vec4<f32>, TILE_N * STRIDE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = group.y * TILE_M;
    let first_column = group.x * TILE_N;
    let k4_end = params.k / 4u;
    // 32 neighbouring threads take 4 x 8 places of the tile, so that they read few rows of either operand.
    let tx = index / 32u % 2u * 8u + index % 8u;
    let ty = index / 64u * 4u + index / 8u % 4u;
    let stage_column = index % TILE_K4;
    let stage_row = paired_row(index);

    #repeat i ROWS
    #repeat j COLUMNS
    var sum_$i_$j = vec4<f32>();
    #end
    #end
    #repeat e X_LOADS
    let x_row_$e = stage_row + $e * (THREADS / TILE_K4);
    let x_at_$e = min(first_row + x_row_$e, params.m - 1u) * k4_end;
    #end
    #repeat e W_LOADS
    let weight_row_$e = stage_row + $e * (THREADS / TILE_K4);
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
        x_tile[x_row_$e * STRIDE + stage_column] = vec4<f32>(next_x_$e) * inside;
        #end
        #repeat e W_LOADS
        weight_tile[weight_row_$e * STRIDE + stage_column] = widen_weight(next_weight_$e);
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
        for (var c = 0u; c < TILE_K4; c++) {
            #repeat j COLUMNS
            #repeat d 4
            let w_$j_$d = weight_tile[(tx + 64u * $j + 16u * $d) * STRIDE + c];
            #end
            #end
            #repeat i ROWS
            {
                let a = x_tile[(ty + TY * $i) * STRIDE + c];
                #repeat j COLUMNS
                sum_$i_$j = vec4<f32>(
                    add_dot(sum_$i_$j.x, a, w_$j_0), add_dot(sum_$i_$j.y, a, w_$j_1),
                    add_dot(sum_$i_$j.z, a, w_$j_2), add_dot(sum_$i_$j.w, a, w_$j_3),
                );
                #end
            }
            #end
        }
    }

    #repeat i ROWS
    #repeat j COLUMNS
    store(first_row + ty + TY * $i, first_column + tx + 64u * $j, sum_$i_$j);
    #end
    #end
}
