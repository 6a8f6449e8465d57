// out = x * (share * deviation(reference) / deviation(x) + 1 - share), deviations over all elements
//
// x, out             [count] f32
// x_moments          [chunks, 2] f32, of moments.wgsl
// reference_moments  [chunks, 2] f32, the same of a tensor of as many elements
//
// One thread takes one element and adds the few chunks up by itself. The variance is the mean of squares less the
// square of the mean, in f32: for tensors whose mean is no multiple of their deviation. An x of variance 0 stays as
// it is.
// Matches rescale_noise_cfg of diffusers' pipeline_stable_diffusion.py (guidance rescale, arXiv 2305.08891).

#import shared/element_index

struct Params {
    count: u32,
    chunks: u32,
    /// How far the deviation is drawn, 0 to 1.
    share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> x_moments: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> reference_moments: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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
    var of_x = vec2<f32>();
    var of_reference = vec2<f32>();
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        of_x += x_moments[chunk];
        of_reference += reference_moments[chunk];
    }
    let variance = variance_of(of_x);
    var factor = 1.0;
    if variance > 0.0 {
        factor = params.share * sqrt(variance_of(of_reference) / variance) + 1.0 - params.share;
    }
    out[i] = x[i] * factor;
}

fn variance_of(sums: vec2<f32>) -> f32 {
    let means = sums / f32(params.count);
    return max(0.0, means.y - means.x * means.x);
}
