// f16 operands of the matrix units, eight in a group of 16 bytes, with f32 sums.

const GROUP = 8u;

alias left = subgroup_matrix_left<f16, 16, 16>;
alias right = subgroup_matrix_right<f16, 16, 16>;
alias result = subgroup_matrix_result<f32, 16, 16>;

// Four neighbouring sums as they left the matrix units.
fn scaled(bits: vec4<u32>, row: u32, column4: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(bits);
}
