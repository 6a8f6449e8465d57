// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] ) on the GPU's matrix units
//
// x       [m, k] f16, or int8 with a scale for each row, 16 bytes at a time (shared/matrix_<operands>)
// weight  [n, k] the same, or turned into f16 when it is staged (shared/weight8_<storage>)
// out     [m, n] out_elem
//
// One workgroup of four subgroups (32 wide) computes a tile of 128 x 128; each subgroup holds 64 x 64 of it as 4 x 4
// fragments of 16 x 16. Both operands are staged in workgroup memory, 64 bytes of a row at a time; the next 64 are
// fetched into registers while the current ones are multiplied. Every loop over fragments is written out: arrays of
// fragments indexed by a loop variable spill (33 against 171 TFLOP/s for this very kernel). Fragments are loaded at
// constant offsets into arrays of arrays, which need no bounds check each (105 against 210 TFLOP/s); two stages with
// one barrier a step would leave room for one workgroup only (120 TFLOP/s). UNROLL steps along k are written out in a
// turn of the loop (1, 2 and 4 of f16: 233, 258 and 263 TFLOP/s; with int8 weights 214, 230 and 256).
// Workgroups that run at once read few rows and few columns: they walk bands of BAND tiles down and all tiles across.
// Sums are f32 of f16 operands and i32 of int8 ones.
// Preconditions (op): k is a multiple of 32 (64 for int8) times UNROLL, n of 4; fragments of 16 x 16, 32 bytes along k.
// Matches torch.nn.functional.linear followed by the activation, to the rounding of the operands.

#import shared/matrix_<operands>
#import shared/weight8_<storage>
#import shared/activation
#import shared/paired_row

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<out_elem>>;

const TILE = 128u;
const BAND = 8u;
const STEP = 4u; // groups of 16 bytes in a step along k
const STRIDE = 5u; // rows of a staged tile, in groups: one of padding against bank conflicts
const RESULT_STRIDE = 17u; // rows of 64 results on their way out, in groups of 4

// 64 rows each: two of x, two of the weight. Later 16 x 64 results of each subgroup.
var<workgroup> tiles: array<array<vec4<u32>, 64u * STRIDE>, 4>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let place = group.y * groups.x + group.x;
    let band = place / (groups.x * BAND);
    let place_in_band = place % (groups.x * BAND);
    let band_rows = min(BAND, groups.y - band * BAND);
    let first_row = (band * BAND + place_in_band % band_rows) * TILE;
    let first_column = place_in_band / band_rows * TILE;
    let k_end = params.k / GROUP;
    let row_half = subgroup / 2u;
    let column_half = subgroup % 2u;
    // A thread stages one group of four rows, 32 apart.
    let stage_row = paired_row(index);
    let stage_column = index % STEP;
    let stage_at = stage_row * STRIDE + stage_column;

    #repeat i 4
    #repeat j 4
    var sum_$i_$j: result;
    #end
    let x_at_$i = min(first_row + stage_row + 32u * $i, params.m - 1u) * k_end + stage_column;
    let weight_at_$i = min(first_column + stage_row + 32u * $i, params.n - 1u) * k_end + stage_column;
    var next_x_$i = x[x_at_$i];
    var next_weight_$i = fetch_weight8(weight_at_$i);
    #end

    for (var k = 0u; k < k_end; k += UNROLL * STEP) {
        #repeat u UNROLL
        workgroupBarrier();
        #repeat i 4
        tiles[$i / 2][stage_at + 32u * ($i % 2) * STRIDE] = next_x_$i;
        #end
        #repeat i 4
        tiles[2 + $i / 2][stage_at + 32u * ($i % 2) * STRIDE] = staged_weight(next_weight_$i);
        #end
        let next_$u = min(k + ($u + 1u) * STEP, k_end - STEP);
        #repeat i 4
        next_x_$i = x[x_at_$i + next_$u];
        #end
        #repeat i 4
        next_weight_$i = fetch_weight8(weight_at_$i + next_$u);
        #end
        workgroupBarrier();
        #repeat s 2
        #repeat i 4
        let x_$u_$s_$i = subgroupMatrixLoad<left, row_major>(
            &tiles[row_half], 16u * $i * STRIDE + 2u * $s, STRIDE,
        );
        #end
        #repeat j 4
        let weight_$u_$s_$j = subgroupMatrixLoad<right, col_major>(
            &tiles[2u + column_half], 16u * $j * STRIDE + 2u * $s, STRIDE,
        );
        #repeat i 4
        sum_$i_$j = subgroupMatrixMultiplyAccumulate(x_$u_$s_$i, weight_$u_$s_$j, sum_$i_$j);
        #end
        #end
        #end
        #end
    }

    // 16 rows and 64 columns of each subgroup at a time: lanes take 4 columns of eight rows each, in 8 turns.
    let lane = index % 32u;
    #repeat i 4
    workgroupBarrier();
    #repeat j 4
    subgroupMatrixStore<row_major>(&tiles[subgroup], 4u * $j, sum_$i_$j, RESULT_STRIDE);
    #end
    workgroupBarrier();
    for (var turn = 0u; turn < 8u; turn++) {
        let row_in = 2u * turn + lane / 16u;
        let row = first_row + 64u * row_half + 16u * $i + row_in;
        let column = first_column + 64u * column_half + 4u * (lane % 16u);
        if row < params.m && column < params.n {
            let sum = scaled(tiles[subgroup][row_in * RESULT_STRIDE + lane % 16u], row, column / 4u);
            out[(row * params.n + column) / 4u] = vec4<out_elem>(activate(sum + bias[column / 4u]));
        }
    }
    #end
}
