// out[r, c] = residual[r, c] + gate[c] * x[r, c]
//
// residual, out  [rows, columns] f32 (the residual stream)
// x              [rows, columns] elem
// gate           [columns] f32; ones where a layer has no gate
//
// One thread takes four elements. Precondition (op): columns is a multiple of 4.
// Matches `hidden_states + attn_output * gate_msa` in diffusers' WanTransformerBlock.

#import shared/element_index

struct Params {
    count4: u32,
    columns4: u32,
    /// Where the gate begins in its buffer, in elements; a multiple of 4.
    gate_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(3) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i < params.count4 {
        out[i] = residual[i] + gate[params.gate_offset / 4u + i % params.columns4] * vec4<f32>(x[i]);
    }
}
