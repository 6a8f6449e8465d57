// Sum over a workgroup of ROW_THREADS threads, a power of two. Call in uniform control flow; every thread gets the sum.

var<workgroup> reduce_scratch: array<f32, ROW_THREADS>;

fn reduce_row(value: f32, local: u32) -> f32 {
    workgroupBarrier();
    reduce_scratch[local] = value;
    for (var half = ROW_THREADS / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if local < half {
            reduce_scratch[local] += reduce_scratch[local + half];
        }
    }
    workgroupBarrier();
    return reduce_scratch[0];
}
