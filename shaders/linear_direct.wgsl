// out[m, n] = activation( sum_k x[m, k] * weight[n, k] + bias[n] ), without workgroup memory
//
// Operands and arithmetic are those of linear.wgsl. Here a thread computes ROWS rows of 4 columns straight from
// global memory: on adapters that are really a CPU, barriers cost far more than re-reading a cache.
// Precondition (op): k is a multiple of 4.

#import shared/weight_<storage>
#import shared/activation

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<out_elem>;

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let column = 4u * thread.x;
    let first_row = ROWS * thread.y;
    if column >= params.n {
        return;
    }
    let k4_end = params.k / 4u;
    let last_column = params.n - 1u;

    #repeat i ROWS
    let row_$i = min(first_row + $i, params.m - 1u) * k4_end;
    var sum_$i = vec4<f32>();
    #end
    for (var c = 0u; c < k4_end; c++) {
        let w0 = widen_weight(fetch_weight(column, c));
        let w1 = widen_weight(fetch_weight(min(column + 1u, last_column), c));
        let w2 = widen_weight(fetch_weight(min(column + 2u, last_column), c));
        let w3 = widen_weight(fetch_weight(min(column + 3u, last_column), c));
        #repeat i ROWS
        {
            let x_part = vec4<f32>(x[row_$i + c]);
            sum_$i += vec4<f32>(dot(x_part, w0), dot(x_part, w1), dot(x_part, w2), dot(x_part, w3));
        }
        #end
    }
    #repeat i ROWS
    store(first_row + $i, column, sum_$i);
    #end
}

fn store(row: u32, column: u32, sum: vec4<f32>) {
    if row >= params.m {
        return;
    }
    let columns = column + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = columns < vec4<u32>(params.n);
    let at = min(columns, vec4<u32>(params.n - 1u));
    let value = vec4<out_elem>(activate(sum + vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w])));
    #repeat c 4
    if inside[$c] {
        out[row * params.n + columns[$c]] = value[$c];
    }
    #end
}
