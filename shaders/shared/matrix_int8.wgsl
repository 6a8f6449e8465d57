// int8 operands of the matrix units, sixteen in a group of 16 bytes, with i32 sums and a scale for each of their rows.
@group(0) @binding(5) var<storage, read> x_scale: array<f32>;
@group(0) @binding(6) var<storage, read> weight_scale: array<vec4<f32>>;

const GROUP = 16u;

alias left = subgroup_matrix_left<i8, 32, 16>;
alias right = subgroup_matrix_right<i8, 16, 32>;
alias result = subgroup_matrix_result<i32, 16, 16>;

// Four neighbouring sums as they left the matrix units.
fn scaled(bits: vec4<u32>, row: u32, column4: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(bits)) * x_scale[row] * weight_scale[column4];
}
