// latents[c, t * PT + pt, y * PH + ph, x * PW + pw] = x[token, ((pt * PH + ph) * PW + pw) * channels + c]
// with token = (t * grid_height + y) * grid_width + x
//
// x        [frames * grid_height * grid_width, PT * PH * PW * channels] elem
// latents  [channels, frames * PT, grid_height * PH, grid_width * PW] f32
//
// One thread writes one element. The channel is the fastest axis here, unlike in patchify.
// Matches the reshape and permute at the end of diffusers' WanTransformer3DModel.forward.

#import shared/element_index

struct Params {
    count: u32,
    channels: u32,
    /// Latent frames, tokens down, tokens across.
    grid: vec3<u32>,
    patch_size: vec3<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<elem>;
@group(0) @binding(2) var<storage, read_write> latents: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element_index(group, groups, local);
    if i >= params.count {
        return;
    }
    let p = params.patch_size;
    let g = params.grid;
    let size = g * p;
    let at = vec3<u32>(i / (size.y * size.z) % size.x, i / size.z % size.y, i % size.z);
    let channel = i / (size.x * size.y * size.z);
    let patch_at = at / p;
    let inside = at % p;
    let token = (patch_at.x * g.y + patch_at.y) * g.z + patch_at.z;
    let feature = ((inside.x * p.y + inside.y) * p.z + inside.z) * params.channels + channel;
    latents[i] = f32(x[token * params.channels * p.x * p.y * p.z + feature]);
}
