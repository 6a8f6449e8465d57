// Softmax in powers of two, which is what hardware computes: logits and biases are multiplied by LOG2_E, and LN_2 makes
// a maximum a natural logarithm again.

const LOG2_E = 1.4426950408889634;
const LN_2 = 0.6931471805599453;
