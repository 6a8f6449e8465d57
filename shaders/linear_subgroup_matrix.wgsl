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
// one barrier a step would leave room for one workgroup only (120 TFLOP/s).
// Sums are f32 of f16 operands and i32 of int8 ones.
// Preconditions (op): k is a multiple of 32 (64 for int8), n of 4; fragments of 16 x 16 with 32 bytes along k.
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
const STEP = 4u; // groups of 16 bytes in a step along k
const STRIDE = 5u; // rows of a staged tile, in groups: one of padding against bank conflicts
const RESULT_STRIDE = 9u; // rows of 32 results on their way out, in groups of 4

// In two halves of 64 rows. x_tile later holds 16 x 32 results of each subgroup.
var<workgroup> x_tile: array<array<vec4<u32>, 64u * STRIDE>, 2>;
var<workgroup> weight_tile: array<array<vec4<u32>, 64u * STRIDE>, 2>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let first_row = group.y * TILE;
    let first_column = group.x * TILE;
    let k_end = params.k / GROUP;
    let row_half = subgroup / 2u;
    let column_half = subgroup % 2u;
    // A thread stages one group of four rows, 32 apart.
    let stage_row = paired_row(index);
    let stage_column = index % STEP;
    let stage_at = stage_row * STRIDE + stage_column;

    #repeat i 4
    #repeat h 2
    #repeat j 2
    var sum_$i_$h_$j: result;
    #end
    #end
    let x_at_$i = min(first_row + stage_row + 32u * $i, params.m - 1u) * k_end + stage_column;
    let weight_row_$i = min(first_column + stage_row + 32u * $i, params.n - 1u);
    var next_x_$i = x[x_at_$i];
    var next_weight_$i = fetch_weight8(weight_row_$i, stage_column);
    #end

    for (var k = 0u; k < k_end; k += STEP) {
        workgroupBarrier();
        #repeat i 4
        x_tile[$i / 2][stage_at + 32u * ($i % 2) * STRIDE] = next_x_$i;
        weight_tile[$i / 2][stage_at + 32u * ($i % 2) * STRIDE] = staged_weight(next_weight_$i);
        #end
        let next = min(k + STEP, k_end - STEP);
        #repeat i 4
        next_x_$i = x[x_at_$i + next];
        next_weight_$i = fetch_weight8(weight_row_$i, next + stage_column);
        #end
        workgroupBarrier();
        #repeat s 2
        #repeat i 4
        let x_$s_$i = subgroupMatrixLoad<left, row_major>(&x_tile[row_half], 16u * $i * STRIDE + 2u * $s, STRIDE);
        #end
        #repeat h 2
        #repeat j 2
        let weight_$s_$h_$j = subgroupMatrixLoad<right, col_major>(
            &weight_tile[column_half], (32u * $h + 16u * $j) * STRIDE + 2u * $s, STRIDE,
        );
        #repeat i 4
        sum_$i_$h_$j = subgroupMatrixMultiplyAccumulate(x_$s_$i, weight_$s_$h_$j, sum_$i_$h_$j);
        #end
        #end
        #end
        #end
    }

    // 16 rows and 32 columns of each subgroup at a time: lanes take 4 columns of four rows each, in 4 turns.
    let lane = index % 32u;
    let result_at = 16u * RESULT_STRIDE * column_half;
    #repeat i 4
    #repeat h 2
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&x_tile[row_half], result_at, sum_$i_$h_0, RESULT_STRIDE);
    subgroupMatrixStore<row_major>(&x_tile[row_half], result_at + 4u, sum_$i_$h_1, RESULT_STRIDE);
    workgroupBarrier();
    for (var turn = 0u; turn < 4u; turn++) {
        let row_in = 4u * turn + lane / 8u;
        let row = first_row + 64u * row_half + 16u * $i + row_in;
        let column = first_column + 64u * column_half + 32u * $h + 4u * (lane % 8u);
        if row < params.m && column < params.n {
            let sum = scaled(x_tile[row_half][result_at + row_in * RESULT_STRIDE + lane % 8u], row, column / 4u);
            out[(row * params.n + column) / 4u] = vec4<out_elem>(activate(sum + bias[column / 4u]));
        }
    }
    #end
    #end
}
