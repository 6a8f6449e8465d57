// What PyTorch computed with a weft-nano's f16 originals, for three prompts: of the shipped model in
// tests/fixtures/weft_nano, of other weft-nanos in their own folder `reference`.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import {
  type FixtureTensor,
  fixturePath,
  readFixture,
  readFixtureJson,
  readFixtureTensors,
} from "./fixture_tensors.ts";

/** Names of the cases; only case1 has more than ids and embeddings. */
export const NANO_CASES = ["case0", "case1", "case2"] as const;

/** Name of a case. */
export type NanoCase = (typeof NANO_CASES)[number];

/** A model's reference. */
export interface NanoReference {
  /** A case's prompt and length. */
  prompt(name: NanoCase): { readonly prompt: string; readonly frames: number };
  /** A case's tensors, by the names of models/weft-nano/RECIPE.md; throws for unknown names. */
  tensors(name: NanoCase): (tensor: string) => FixtureTensor;
  /** The frames of case1 after the few-step model's four steps: the first 9 or all 17 of [17, 3, 128, 128], 0 to 255. */
  frames(): ArrayLike<number>;
}

/** The reference in a folder: tests/fixtures/weft_nano, or an absolute path. */
export function nanoReference(folder = "weft_nano"): NanoReference {
  const tensors = (name: NanoCase): ReturnType<NanoReference["tensors"]> => {
    const all = readFixtureTensors(`${folder}/${name}.safetensors`);
    return (tensor) => {
      const found = all.get(tensor);
      if (found === undefined) throw new Error(`${name} has no tensor ${tensor}.`);
      return found;
    };
  };
  const frames = `${folder}/case1_frames`;
  return {
    tensors,
    prompt: (name) => (readFixtureJson(`${folder}/cases.json`) as NanoPrompts)[name],
    frames: () =>
      existsSync(fixturePath(`${frames}.br`)) ? readFixture(frames) : tensors("case1")("fewstep_frames").data,
  };
}

/** The reference that lies in a model's own folder. */
export function referenceIn(modelFolder: string): NanoReference {
  return nanoReference(resolve(modelFolder, "reference"));
}

type NanoPrompts = Record<NanoCase, { prompt: string; frames: number }>;
