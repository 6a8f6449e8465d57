// Plain f64 loops shared by CPU twins in tests: row-major matrices as { rows, cols, data }. Never optimised.

/** A row-major matrix. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** A matrix of values given row by row. */
export function matrix(rows: number, cols: number, value: (row: number, col: number) => number): Matrix {
  const data = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) data[r * cols + c] = value(r, c);
  return { rows, cols, data };
}

/** `x * weight^T + bias`, weight [out, in]. */
export function linear(x: Matrix, weight: ArrayLike<number>, bias?: ArrayLike<number>): Matrix {
  return matrix(x.rows, weight.length / x.cols, (r, o) => {
    let sum = bias?.[o] ?? 0;
    for (let i = 0; i < x.cols; i++) sum += x.data[r * x.cols + i]! * weight[o * x.cols + i]!;
    return sum;
  });
}

/** The same function of every element. */
export function map(x: Matrix, f: (value: number, row: number, col: number) => number): Matrix {
  return matrix(x.rows, x.cols, (r, c) => f(x.data[r * x.cols + c]!, r, c));
}

/** Root mean square normalisation of every row. */
export function rmsNorm(x: Matrix, weight: ArrayLike<number>, eps: number): Matrix {
  return normalise(x, false, eps, (value, col) => value * weight[col]!);
}

/** Layer normalisation of every row, without weights. */
export function layerNorm(x: Matrix, eps: number): Matrix {
  return normalise(x, true, eps, (value) => value);
}

function normalise(
  x: Matrix,
  center: boolean,
  eps: number,
  scale: (value: number, col: number) => number,
): Matrix {
  const out = new Float64Array(x.data.length);
  for (let r = 0; r < x.rows; r++) {
    const row = x.data.subarray(r * x.cols, (r + 1) * x.cols);
    const mean = center ? row.reduce((a, b) => a + b, 0) / x.cols : 0;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / x.cols;
    row.forEach((value, c) => (out[r * x.cols + c] = scale((value - mean) / Math.sqrt(variance + eps), c)));
  }
  return { rows: x.rows, cols: x.cols, data: out };
}

/** Multi-head attention, heads side by side in the columns; `logit` turns a dot product into a logit. */
export function attention(
  heads: { readonly q: Matrix; readonly k: Matrix; readonly v: Matrix; readonly count: number },
  logit: (dot: number, head: number, query: number, key: number) => number,
): Matrix {
  const { q, k, v, count } = heads;
  const width = q.cols / count;
  const out = new Float64Array(q.data.length);
  for (let h = 0; h < count; h++) {
    for (let i = 0; i < q.rows; i++) {
      const logits = Array.from({ length: k.rows }, (_, j) => {
        let dot = 0;
        for (let d = h * width; d < (h + 1) * width; d++)
          dot += q.data[i * q.cols + d]! * k.data[j * k.cols + d]!;
        return logit(dot, h, i, j);
      });
      const max = Math.max(...logits);
      const weights = logits.map((value) => Math.exp(value - max));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let d = h * width; d < (h + 1) * width; d++) {
        let sum = 0;
        for (let j = 0; j < k.rows; j++) sum += weights[j]! * v.data[j * v.cols + d]!;
        out[i * q.cols + d] = sum / total;
      }
    }
  }
  return { rows: q.rows, cols: q.cols, data: out };
}

/** GELU by tanh. */
export function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** x * sigmoid(x). */
export function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** |actual - wanted| / |wanted|, Euclidean. */
export function relativeError(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (actual.length !== wanted.length)
    throw new Error(`${actual.length} values cannot match ${wanted.length}.`);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < wanted.length; i++) {
    difference += (actual[i]! - wanted[i]!) ** 2;
    norm += wanted[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
