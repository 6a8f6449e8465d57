// Activation functions, chosen by the constant ACTIVATION: 0 none, 1 gelu_tanh, 2 silu.

const SQRT_2_OVER_PI = 0.7978845608028654;

fn gelu_tanh(x: vec4<f32>) -> vec4<f32> {
    // tanh overflows to NaN in some drivers beyond about 44 (exp of twice that); it is 1 to f32 far earlier.
    let inner = clamp(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x), vec4<f32>(-15.0), vec4<f32>(15.0));
    return 0.5 * x * (1.0 + tanh(inner));
}

fn silu(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exp(-x));
}

fn activate(x: vec4<f32>) -> vec4<f32> {
    if ACTIVATION == 1u {
        return gelu_tanh(x);
    }
    if ACTIVATION == 2u {
        return silu(x);
    }
    return x;
}
