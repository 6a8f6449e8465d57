// scale[r] = max_c |x[r, c]| / 127;  out[r, c] = round(x[r, c] / scale[r])
//
// x      [rows, columns] elem
// out    [rows, columns] int8, four in a u32, the first one lowest
// scale  [rows] f32; of a row of zeros the smallest normal number, and its integers are 0
//
// One workgroup takes one row; halves are rounded to even. Precondition (op): columns is a multiple of 4.
// Matches torch's symmetric quantisation per row (per token, per output channel) to int8 of -127 to 127.

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<elem>>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;

const SMALLEST = 1.17549435e-38;

var<workgroup> largest: array<f32, ROW_THREADS>;

@compute @workgroup_size(ROW_THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows {
        return;
    }
    let columns4 = params.columns / 4u;
    let start = row * columns4;

    var largest4 = vec4<f32>();
    for (var c = local; c < columns4; c += ROW_THREADS) {
        largest4 = max(largest4, abs(vec4<f32>(x[start + c])));
    }
    largest[local] = max(max(largest4.x, largest4.y), max(largest4.z, largest4.w));
    for (var half = ROW_THREADS / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if local < half {
            largest[local] = max(largest[local], largest[local + half]);
        }
    }
    workgroupBarrier();
    let step = max(largest[0] / 127.0, SMALLEST);

    for (var c = local; c < columns4; c += ROW_THREADS) {
        out[start + c] = pack4xI8(vec4<i32>(round(vec4<f32>(x[start + c]) / step)));
    }
    if local == 0u {
        scale[row] = step;
    }
}
