// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] )
//
// x       [m, k] elem, row-major
// bias    [n] f32
// out     [m, n] out_elem
// weight  [n, k] as torch stores it, in one of three storages (shared/weight_<storage>)
//
// One workgroup computes a tile of (16 * ROWS) x (16 * COLUMNS * 4) elements; a thread computes ROWS rows of
// COLUMNS * 4 columns, 16 apart, so that neighbouring threads read and write neighbours. Both operands are staged in
// workgroup memory as vec4 along k, TILE_K4 of them at a time; rows are padded by one vec4 against bank conflicts.
// Sums are f32. Precondition (op): k is a multiple of 4.
// Matches torch.nn.functional.linear followed by the activation.

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

const TILE_M = 16u * ROWS;
const TILE_N = 64u * COLUMNS;
const STRIDE = TILE_K4 + 1u;

var<workgroup> x_tile: array<vec4<f32>, TILE_M * STRIDE>;
var<workgroup> weight_tile: array<vec4<f32>, TILE_N * STRIDE>;

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
            var value = vec4<f32>();
            if first_row + row < params.m && k4 + column < k4_end {
                value = vec4<f32>(x[(first_row + row) * k4_end + k4 + column]);
            }
            x_tile[row * STRIDE + column] = value;
        }
        for (var i = index; i < TILE_N * TILE_K4; i += 256u) {
            let row = i / TILE_K4;
            let column = i % TILE_K4;
            var value = vec4<f32>();
            if first_column + row < params.n && k4 + column < k4_end {
                value = load_weight(first_column + row, k4 + column);
            }
            weight_tile[row * STRIDE + column] = value;
        }
        workgroupBarrier();
        for (var c = 0u; c < TILE_K4; c++) {
            #repeat i ROWS
            let x_$i = x_tile[(local.y + 16u * $i) * STRIDE + c];
            #end
            #repeat j COLUMNS
            {
                let at = (local.x + 64u * $j) * STRIDE + c;
                let w0 = weight_tile[at];
                let w1 = weight_tile[at + 16u * STRIDE];
                let w2 = weight_tile[at + 32u * STRIDE];
                let w3 = weight_tile[at + 48u * STRIDE];
                #repeat i ROWS
                sum_$i_$j += vec4<f32>(dot(x_$i, w0), dot(x_$i, w1), dot(x_$i, w2), dot(x_$i, w3));
                #end
            }
            #end
        }
    }

    #repeat i ROWS
    #repeat j COLUMNS
    store(first_row + local.y + 16u * $i, first_column + local.x + 64u * $j, sum_$i_$j);
    #end
    #end
}
