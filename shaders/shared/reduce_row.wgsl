// Sum over a workgroup of 64 threads. Call in uniform control flow; every thread gets the sum.

var<workgroup> reduce_scratch: array<f32, 64>;

fn reduce_row(value: f32, local: u32) -> f32 {
    workgroupBarrier();
    reduce_scratch[local] = value;
    for (var half = 32u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if local < half {
            reduce_scratch[local] += reduce_scratch[local + half];
        }
    }
    workgroupBarrier();
    return reduce_scratch[0];
}
