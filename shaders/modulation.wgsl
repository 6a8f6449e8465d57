// out[s, c] = table[s, c] + projection[s, c], plus 1 where slot s is a scale
//
// table       [slots, columns] f32: a block's scale_shift_table
// projection  [slots, columns] f32: timestep_proj; or [1, columns], repeated (the head's temb)
// out         [slots, columns] f32
//
// One thread takes four elements. Adding the 1 here makes modulation and affine norms one kernel (layer_norm).
// Precondition (op): columns is a multiple of 4.
// Matches `self.scale_shift_table + temb` and the later `1 + scale` in diffusers' transformer_wan.py.

#import shared/element_index

struct Params {
    count4: u32,
    columns4: u32,
    projection_slots: u32,
    /// Bit s is set when slot s is a scale.
    scale_slots: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> projection: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i >= params.count4 {
        return;
    }
    let slot = i / params.columns4;
    let source = (slot % params.projection_slots) * params.columns4 + i % params.columns4;
    let one = f32((params.scale_slots >> slot) & 1u);
    out[i] = table[i] + projection[source] + one;
}
