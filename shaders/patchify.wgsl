// out[token, ((c * PT + pt) * PH + ph) * PW + pw] = latents[c, t * PT + pt, y * PH + ph, x * PW + pw]
// with token = (t * grid_height + y) * grid_width + x
//
// latents  [channels, frames * PT, grid_height * PH, grid_width * PW] f32
// out      [frames * grid_height * grid_width, channels * PT * PH * PW] elem
//
// One thread takes one element. With the patch embedding's weight flattened this makes Conv3d (kernel = stride =
// patch_size) a linear layer. Matches patch_embedding and flatten(2) in diffusers' WanTransformer3DModel.

#import shared/element_index

struct Params {
    count: u32,
    channels: u32,
    /// Latent frames, tokens down, tokens across.
    grid: vec3<u32>,
    patch_size: vec3<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<elem>;

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
    let features = params.channels * p.x * p.y * p.z;
    let feature = i % features;
    let token = i / features;
    let inside = vec3<u32>(feature / (p.y * p.z) % p.x, feature / p.z % p.y, feature % p.z);
    let patch_at = vec3<u32>(token / (g.y * g.z), token / g.z % g.y, token % g.z);
    let channel = feature / (p.x * p.y * p.z);
    let at = patch_at * p + inside;
    let size = g * p;
    out[i] = elem(latents[((channel * size.x + at.x) * size.y + at.y) * size.z + at.z]);
}
