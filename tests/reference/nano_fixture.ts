// What PyTorch computed with weft-nano's f16 originals (tests/fixtures/weft_nano), for three prompts.
import { readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import { type FixtureTensor, fixturePath, readFixtureJson, readFixtureTensors } from "./fixture_tensors.ts";

/** Names of the cases; only case1 has more than ids and embeddings. */
export const NANO_CASES = ["case0", "case1", "case2"] as const;

/** Name of a case. */
export type NanoCase = (typeof NANO_CASES)[number];

/** A case's prompt and length. */
export function nanoPrompt(name: NanoCase): { readonly prompt: string; readonly frames: number } {
  const cases = readFixtureJson("weft_nano/cases.json") as Record<
    NanoCase,
    { prompt: string; frames: number }
  >;
  return cases[name];
}

/** A case's tensors, by the names of models/weft-nano/RECIPE.md; throws for unknown names. */
export function nanoTensors(name: NanoCase): (tensor: string) => FixtureTensor {
  const tensors = readFixtureTensors(`weft_nano/${name}.safetensors`);
  return (tensor) => {
    const found = tensors.get(tensor);
    if (found === undefined) throw new Error(`${name} has no tensor ${tensor}.`);
    return found;
  };
}

/** The frames of case1 after the few-step model's four steps: [17, 3, 128, 128]. */
export function nanoFrames(): Uint8Array {
  return brotliDecompressSync(readFileSync(fixturePath("weft_nano/case1_frames.br")));
}
