// out[s, j] = rounds * x y[j]^T, products of small matrices on the GPU's matrix units
//
// x    [16, K] part, f16 or i8, 16 bytes at a time; K is 16 numbers of f16 or 32 of i8: 32 bytes
// y    [8, 16, K] the same
// out  [subgroups, 8, 16, 16] sum, f32 or i32: every subgroup computes the same
//
// One subgroup of 32 keeps one left, eight right and eight result fragments in registers: nothing but products, so that
// their speed is the most that any kernel can reach on the device's matrix units. Workgroups have four subgroups.
// Preconditions (op): rounds is a multiple of 2, which are written out to make the loop's own work small; subgroups is
// a multiple of 4; fragments of 16 x 16 x K.

struct Params {
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> y: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<sum>;

const STRIDE = 2u; // rows of K, in groups of 16 bytes

alias left = subgroup_matrix_left<part, K, 16>;
alias right = subgroup_matrix_right<part, 16, K>;
alias result = subgroup_matrix_result<sum, 16, 16>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
    let a = subgroupMatrixLoad<left, row_major>(&x, 0u, STRIDE);
    #repeat j 8
    let b_$j = subgroupMatrixLoad<right, col_major>(&y, 16u * STRIDE * $j, STRIDE);
    var sum_$j: result;
    #end
    for (var round = 0u; round < params.rounds; round += 2u) {
        #repeat turn 2
        #repeat j 8
        sum_$j = subgroupMatrixMultiplyAccumulate(a, b_$j, sum_$j);
        #end
        #end
    }
    let first = (4u * group.x + subgroup) * 8u;
    #repeat j 8
    subgroupMatrixStore<row_major>(&out, (first + $j) * 256u, sum_$j, 16u);
    #end
}
