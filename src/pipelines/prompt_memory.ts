// Remembers what token ids were encoded to, and takes ids that will be needed later along in the same pass: the layers
// of a large text encoder are read once for a whole batch of renders instead of once for each.

import type { EncodeTokens } from "./engine.ts";

/** An encoder that remembers. */
export interface PromptMemory {
  /** Ids that later calls of `encode` will ask for. */
  expect(prompts: readonly (readonly number[])[]): void;
  /** As the encoder it was made from. */
  readonly encode: EncodeTokens;
}

/** Prompts in one pass; each needs GPU memory for its states. */
const MAX_PASS = 64;
/** Prompts remembered; the oldest are forgotten first. */
const MAX_KNOWN = 256;

/** Puts a memory before `encodeTokens`. */
export function rememberPrompts(encodeTokens: EncodeTokens): PromptMemory {
  const known = new Map<string, Float32Array>();
  const expected = new Map<string, readonly number[]>();
  return {
    expect(prompts) {
      for (const ids of prompts) if (!known.has(keyOf(ids))) expected.set(keyOf(ids), ids);
    },
    async encode(prompts, options) {
      const found = new Map<string, Float32Array>();
      const pass = new Map<string, readonly number[]>();
      for (const ids of prompts) {
        const key = keyOf(ids);
        const embeds = known.get(key);
        if (embeds === undefined) pass.set(key, ids);
        else found.set(key, embeds);
      }
      if (pass.size > 0) {
        for (const [key, ids] of expected) if (pass.size < MAX_PASS) pass.set(key, ids);
        const encoded = await encodeTokens(Array.from(pass.values()), options);
        for (const [i, key] of Array.from(pass.keys()).entries()) {
          const embeds = encoded[i] ?? new Float32Array();
          found.set(key, embeds);
          known.set(key, embeds);
          expected.delete(key);
        }
        for (const key of known.keys()) if (known.size > MAX_KNOWN) known.delete(key);
      }
      return prompts.map((ids) => found.get(keyOf(ids)) ?? new Float32Array());
    },
  };
}

function keyOf(ids: readonly number[]): string {
  return ids.join();
}
