// Joins two attentions of the same queries over different keys into the attention over all of them:
//   lse = log(exp(lse_a) + exp(lse_b)),  out = a exp(lse_a - lse) + b exp(lse_b - lse)
//
// a, b, out        [num_queries, heads * head_dim] elem
// lse_a, lse_b     [heads, num_queries] f32, -inf for a query without keys; logit biases are inside
// v                [at least num_queries, heads * head_dim] elem: read only when perturbed
// perturbation     [heads] f32: SoftPAG (2506.10978), out = (1 - u) * out + u * v; read only when perturbed
// lse              [heads, num_queries] f32
//
// One thread takes four columns of one query; the thread of a head's first columns also writes lse. A query without
// keys in a or b is the other one's, whatever stands in its row, NaN included; without keys in both it gives zeros
// (times 1 - u) and -inf.
// Precondition (op): head_dim is a multiple of 4.
// Matches torch.logsumexp and the weighted sum it implies (Ring Attention's merge, 2310.01889).

#import shared/element_index

struct Params {
    count4: u32,
    num_queries: u32,
    heads: u32,
    head_dim4: u32,
    /// 1 when heads are perturbed.
    perturbed: u32,
    /// -inf, which WGSL cannot write as a constant.
    lse_without_keys: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> lse_a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<vec4<elem>>;
@group(0) @binding(4) var<storage, read> lse_b: array<f32>;
@group(0) @binding(5) var<storage, read> v: array<vec4<elem>>;
@group(0) @binding(6) var<storage, read> perturbation: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<elem>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const LOWEST = -3.0e38; // stands for -inf: WGSL does not promise that infinities survive arithmetic

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
    let query = i / (params.heads * params.head_dim4);
    let head = (i / params.head_dim4) % params.heads;
    let at = head * params.num_queries + query;
    let log_a = max(lse_a[at], LOWEST);
    let log_b = max(lse_b[at], LOWEST);
    let top = max(log_a, log_b);
    let has_keys = top > LOWEST;
    // Without keys a weight is 0, also next to a maximum that stands for -inf.
    let weight_a = select(0.0, exp(log_a - top), log_a > LOWEST);
    let weight_b = select(0.0, exp(log_b - top), log_b > LOWEST);
    let sum = select(1.0, weight_a + weight_b, has_keys);
    let part_a = select(vec4<f32>(0.0), vec4<f32>(a[i]) * weight_a, log_a > LOWEST);
    let part_b = select(vec4<f32>(0.0), vec4<f32>(b[i]) * weight_b, log_b > LOWEST);
    var value = (part_a + part_b) / sum;
    if params.perturbed == 1u {
        value = mix(value, vec4<f32>(v[i]), perturbation[head]);
    }
    out[i] = vec4<elem>(value);
    if i % params.head_dim4 == 0u {
        lse[at] = select(params.lse_without_keys, top + log(sum), has_keys);
    }
}
