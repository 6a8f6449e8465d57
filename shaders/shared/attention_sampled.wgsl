// What attention relative to the maximum of a sample needs: numbers that 16 threads share for a row, and whether the
// sample did. Expects: the bindings of attention.wgsl with packed f16, stage, pair, sixteenth.

// In powers of two: how far probabilities stay below the largest of the sample, and may exceed 1.
const HEADROOM = 4.0;
const LOG2_E = 1.4426950408889634;
const LN_2 = 0.6931471805599453;

var<workgroup> too_large: atomic<u32>;

// Whether no thread's largest exponent exceeds the headroom. Call in uniform control flow; all threads get the answer.
fn does_fit(largest: f32) -> bool {
    if largest > HEADROOM {
        atomicStore(&too_large, 1u);
    }
    return workgroupUniformLoad(&too_large) == 0u;
}

fn sixteenths(packed: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(sixteenth(packed.x), sixteenth(packed.y), sixteenth(packed.z), sixteenth(packed.w));
}

fn largest_of(values: vec4<f32>) -> f32 {
    return max(max(values.x, values.y), max(values.z, values.w));
}

// Sums of pairs, in f32.
fn sums_of(a: vec2<part>, b: vec2<part>, c: vec2<part>, d: vec2<part>) -> vec4<f32> {
    return vec4<f32>(vec4<part>(a.x, b.x, c.x, d.x)) + vec4<f32>(vec4<part>(a.y, b.y, c.y, d.y));
}

// One number a row of each of 16 threads, in the stage while it is not in use.
fn share(row: u32, thread: u32, value: f32) {
    stage[5u * row + thread / 4u][thread % 4u] = bitcast<u32>(value);
}

fn shared4(row: u32, at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(stage[5u * row + at]);
}

fn row_largest(row: u32) -> f32 {
    return largest_of(max(max(shared4(row, 0u), shared4(row, 1u)), max(shared4(row, 2u), shared4(row, 3u))));
}

fn row_total(row: u32) -> f32 {
    return dot((shared4(row, 0u) + shared4(row, 1u)) + (shared4(row, 2u) + shared4(row, 3u)), vec4<f32>(1.0));
}

// A query's eight columns, perturbed by its own row of v as far as that is wanted.
fn store(at: u32, first: vec4<f32>, second: vec4<f32>, strength: f32) {
    var low = first;
    var high = second;
    if params.perturbation_use == 2u {
        let own = v[at];
        low = mix(low, vec4<f32>(unpack2x16float(own.x), unpack2x16float(own.y)), strength);
        high = mix(high, vec4<f32>(unpack2x16float(own.z), unpack2x16float(own.w)), strength);
    }
    out[at] = vec4<u32>(
        pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw),
    );
}
