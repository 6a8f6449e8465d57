// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] ), with f16 products and f32 sums
//
// Operands are those of linear.wgsl with x in f16; needs shader-f16. One workgroup computes a tile of (16 * ROWS) x
// (64 * COLUMNS) elements; a thread computes ROWS rows of COLUMNS * 4 columns, 16 apart.
// A product of two vec4 along k is accumulated component by component in f16 (two fused multiply-adds a pair, the full
// f16 rate) for the TILE_K4 steps of one staged tile, then added up in f32: an f16 sum has at most TILE_K4 terms, which
// keeps the relative error near that of rounding the operands.
// Precondition (op): k is a multiple of 4.

#import shared/weight_<storage>
#import shared/activation
#import shared/store_columns16

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<out_elem>;

const TILE_M = 16u * ROWS;
const TILE_N = 64u * COLUMNS;
const STRIDE = TILE_K4 + 1u;

var<workgroup> x_tile: array<vec4<f16>, TILE_M * STRIDE>;
var<workgroup> weight_tile: array<vec4<f16>, TILE_N * STRIDE>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = group.y * TILE_M;
    let first_column = group.x * TILE_N;
    let k4_end = params.k / 4u;

    #repeat i ROWS
    #repeat j COLUMNS
    var sum_$i_$j = vec4<f32>();
    #end
    #end

    for (var k4 = 0u; k4 < k4_end; k4 += TILE_K4) {
        workgroupBarrier();
        for (var i = index; i < TILE_M * TILE_K4; i += 256u) {
            let row = i / TILE_K4;
            let column = i % TILE_K4;
            var value = vec4<f16>();
            if first_row + row < params.m && k4 + column < k4_end {
                value = x[(first_row + row) * k4_end + k4 + column];
            }
            x_tile[row * STRIDE + column] = value;
        }
        for (var i = index; i < TILE_N * TILE_K4; i += 256u) {
            let row = i / TILE_K4;
            let column = i % TILE_K4;
            var value = vec4<f16>();
            if first_column + row < params.n && k4 + column < k4_end {
                value = vec4<f16>(load_weight(first_column + row, k4 + column));
            }
            weight_tile[row * STRIDE + column] = value;
        }
        workgroupBarrier();
        #repeat j COLUMNS
        {
            #repeat i ROWS
            #repeat c 4
            var part_$i_$c = vec4<f16>();
            #end
            #end
            for (var k = 0u; k < TILE_K4; k++) {
                #repeat c 4
                let w_$c = weight_tile[(local.x + 64u * $j + 16u * $c) * STRIDE + k];
                #end
                #repeat i ROWS
                let x_$i = x_tile[(local.y + 16u * $i) * STRIDE + k];
                #repeat c 4
                part_$i_$c = fma(x_$i, w_$c, part_$i_$c);
                #end
                #end
            }
            #repeat i ROWS
            sum_$i_$j += vec4<f32>(
                add_up(part_$i_0), add_up(part_$i_1), add_up(part_$i_2), add_up(part_$i_3),
            );
            #end
        }
        #end
    }

    #repeat i ROWS
    #repeat j COLUMNS
    store(first_row + local.y + 16u * $i, first_column + local.x + 64u * $j, sum_$i_$j);
    #end
    #end
}

fn add_up(part: vec4<f16>) -> f32 {
    return dot(vec4<f32>(part), vec4<f32>(1.0));
}
