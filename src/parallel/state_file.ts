// The state of a render after a step as bytes: step, names of the slots, then their numbers. Slots that share an array
// share it here too. What is not such a file is refused.

import { InputError } from "../errors.ts";
import type { DenoiseState } from "../pipelines/denoise.ts";
import type { StateSlot } from "../schedulers/scheduler.ts";

const MAGIC = 0x57_46_54_31; // "WFT1"
/** Magic, steps done, floats an array, then for every slot the number of its array plus one; 0 where it has none. */
const SLOTS: readonly StateSlot[] = ["sample", "last_sample", "m0", "m1"];
const HEAD_WORDS = 3 + SLOTS.length;
const HEAD_BYTES = 4 * HEAD_WORDS;

/** A state as bytes. All its tensors have as many elements. */
export function encodeState({ step, slots }: DenoiseState): Uint8Array<ArrayBuffer> {
  const arrays = [...new Set(slots.values())];
  const elements = arrays[0]?.length ?? 0;
  const bytes = new Uint8Array(HEAD_BYTES + 4 * elements * arrays.length);
  const indices = SLOTS.map((slot) => {
    const array = slots.get(slot);
    return array === undefined ? 0 : arrays.indexOf(array) + 1;
  });
  new Uint32Array(bytes.buffer, 0, HEAD_WORDS).set([MAGIC, step, elements, ...indices]);
  arrays.forEach((array, i) => new Float32Array(bytes.buffer, HEAD_BYTES).set(array, i * elements));
  return bytes;
}

/**
 * The state that `encodeState` made.
 *
 * @throws InputError for other bytes
 */
export function decodeState(bytes: Uint8Array<ArrayBuffer>): DenoiseState {
  const [, step = 0, elements = 0, ...indices] = headOf(bytes);
  const arrays = Array.from({ length: Math.max(...indices) }, (_, i) => {
    const start = HEAD_BYTES + 4 * elements * i;
    return new Float32Array(bytes.slice(start, start + 4 * elements).buffer);
  });
  const isWhole = bytes.byteLength === HEAD_BYTES + 4 * elements * arrays.length;
  if (!isWhole || indices[0] === 0) throw notAState();
  const slots = new Map<StateSlot, Float32Array>();
  SLOTS.forEach((slot, i) => {
    const array = arrays[(indices[i] ?? 0) - 1];
    if (array !== undefined) slots.set(slot, array);
  });
  return { step, slots };
}

/** Steps done, from the first bytes of a state. */
export function stepOf(head: Uint8Array<ArrayBuffer>): number {
  return headOf(head)[1] ?? 0;
}

function headOf(bytes: Uint8Array<ArrayBuffer>): number[] {
  if (bytes.byteLength < HEAD_BYTES) throw notAState();
  const head = [...new Uint32Array(bytes.slice(0, HEAD_BYTES).buffer)];
  if (head[0] !== MAGIC) throw notAState();
  return head;
}

function notAState(): InputError {
  return new InputError("What was kept of this render is damaged, so it cannot go on: start it again.");
}
