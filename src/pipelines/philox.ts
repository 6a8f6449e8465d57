// Philox4x32-10, a counter-based random number generator: the same counter and key give the same four words
// everywhere, in any order, with no state to carry. Source: Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011; constants as in Random123 (philox.h). Not for secrets.

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Golden ratio and sqrt(3) - 1, added to the key every round. */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** Four unsigned 32-bit words. */
export type Words4 = readonly [number, number, number, number];

/** The four random words of a counter under a key; all words unsigned 32-bit. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The upper 32 bits of the 64-bit product, from 16-bit halves whose products doubles hold exactly. */
function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const cross0 = a0 * b1;
  const cross1 = a1 * b0;
  const carry = ((a0 * b0) >>> 16) + (cross0 & 0xffff) + (cross1 & 0xffff);
  return a1 * b1 + (cross0 >>> 16) + (cross1 >>> 16) + (carry >>> 16);
}
