// out[s, j] = rounds * x y[j], products of matrices of 16 x 16, f16 in, f32 sums
//
// x    [16, 16] f16
// y    [8, 16, 16] f16
// out  [subgroups, 8, 16, 16] f32: every subgroup computes the same
//
// One subgroup of 32 keeps one left, eight right and eight result fragments in registers: nothing but products, so that
// their speed is the most that any kernel can reach on the device's matrix units. Workgroups have four subgroups.
// Preconditions (op): rounds is a multiple of 2, which are written out to make the loop's own work small; subgroups is
// a multiple of 4; f16 -> f32 fragments of 16 x 16 x 16.

struct Params {
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read> y: array<f16>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

alias left = subgroup_matrix_left<f16, 16, 16>;
alias right = subgroup_matrix_right<f16, 16, 16>;
alias result = subgroup_matrix_result<f32, 16, 16>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
    let a = subgroupMatrixLoad<left, row_major>(&x, 0u, 16u);
    #repeat j 8
    let b_$j = subgroupMatrixLoad<right, row_major>(&y, 256u * $j, 16u);
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
