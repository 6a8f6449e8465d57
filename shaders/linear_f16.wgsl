// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] ), with f16 products and f32 sums
//
// Operands are those of linear.wgsl with x in f16, bound as eight at a time; weights are turned into f16 while they are
// staged. Needs shader-f16.
// One workgroup of 16 * TY threads computes a tile of (TY * ROWS) x (64 * COLUMNS) elements; a thread computes ROWS
// rows, TY apart, of COLUMNS * 4 columns, 16 apart. TILE_K8 groups of eight along k are staged at a time (X_LOADS and
// W_LOADS a thread), rows padded by one group against bank conflicts.
// Products go in pairs along k to two f16 sums of 4 * TILE_K8 terms each, which are then added up in f32: the relative
// error stays near that of rounding the operands. Preconditions (op): k is a multiple of 8; whole loads a thread.

#import shared/f16_products
#import shared/weight8_<storage>
#import shared/activation
#import shared/store_columns16

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<out_elem>;

const THREADS = 16u * TY;
const TILE_M = TY * ROWS;
const TILE_N = 64u * COLUMNS;
const STRIDE = TILE_K8 + 1u;

var<workgroup> x_tile: array<vec4<u32>, TILE_M * STRIDE>;
var<workgroup> weight_tile: array<vec4<u32>, TILE_N * STRIDE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = group.y * TILE_M;
    let first_column = group.x * TILE_N;
    let k8_end = params.k / 8u;
    let tx = index / 32u % 2u * 8u + index % 8u;
    let ty = index / 64u * 4u + index / 8u % 4u;
    let stage_column = index % TILE_K8;
    let stage_row = index / TILE_K8;

    #repeat i ROWS
    #repeat j COLUMNS
    var sum_$i_$j = vec4<f32>();
    #end
    #end
    #repeat e X_LOADS
    let x_row_$e = stage_row + $e * (THREADS / TILE_K8);
    let x_at_$e = min(first_row + x_row_$e, params.m - 1u) * k8_end;
    #end
    #repeat e W_LOADS
    let weight_row_$e = stage_row + $e * (THREADS / TILE_K8);
    let weight_at_$e = min(first_column + weight_row_$e, params.n - 1u) * k8_end;
    #end

    let start = min(stage_column, k8_end - 1u);
    #repeat e X_LOADS
    var next_x_$e = x[x_at_$e + start];
    #end
    #repeat e W_LOADS
    var next_weight_$e = fetch_weight8(weight_at_$e + start);
    #end

    for (var k8 = 0u; k8 < k8_end; k8 += TILE_K8) {
        workgroupBarrier();
        let inside = k8 + stage_column < k8_end;
        #repeat e X_LOADS
        x_tile[x_row_$e * STRIDE + stage_column] = select(vec4<u32>(), next_x_$e, inside);
        #end
        #repeat e W_LOADS
        weight_tile[weight_row_$e * STRIDE + stage_column] = staged_weight(next_weight_$e);
        #end
        // In front of the barrier: behind it the compiler would fetch when the values are needed.
        let next = min(k8 + TILE_K8 + stage_column, k8_end - 1u);
        #repeat e X_LOADS
        next_x_$e = x[x_at_$e + next];
        #end
        #repeat e W_LOADS
        next_weight_$e = fetch_weight8(weight_at_$e + next);
        #end
        workgroupBarrier();
        #repeat i ROWS
        #repeat j COLUMNS
        #repeat d 4
        var part_$i_$j_$d = vec2<f16>();
        #end
        #end
        #end
        #repeat c TILE_K8
        {
            #repeat j COLUMNS
            #repeat d 4
            let w_$j_$d = weight_tile[(tx + 64u * $j + 16u * $d) * STRIDE + $c];
            #end
            #end
            #repeat i ROWS
            {
                let a = x_tile[(ty + TY * $i) * STRIDE + $c];
                #repeat j COLUMNS
                #repeat d 4
                part_$i_$j_$d = add_products(part_$i_$j_$d, a, w_$j_$d);
                #end
                #end
            }
            #end
        }
        #end
        #repeat i ROWS
        #repeat j COLUMNS
        sum_$i_$j += vec4<f32>(
            both(part_$i_$j_0), both(part_$i_$j_1), both(part_$i_$j_2), both(part_$i_$j_3),
        );
        #end
        #end
    }

    #repeat i ROWS
    #repeat j COLUMNS
    store(first_row + ty + TY * $i, first_column + tx + 64u * $j, sum_$i_$j);
    #end
    #end
}
