// Feeds for sessions whose weights are inputs: every input is looked up by name in a few places.

import type { Tensor } from "onnxruntime-web";
import type { OrtSession } from "./ort_runtime.ts";

/** Finds a tensor by name; undefined when it is not there. */
export type TensorLookup = (name: string) => Tensor | undefined;

/** Runs a session with its inputs taken from the first lookup that has them; gives the outputs named as f32. */
export async function runNamed<Name extends string>(
  session: OrtSession,
  lookups: readonly TensorLookup[],
  fetches: readonly Name[],
): Promise<Record<Name, Float32Array>> {
  const feeds: Record<string, Tensor> = {};
  for (const name of session.inputNames) {
    const tensor = lookups.map((lookup) => lookup(name)).find((found) => found !== undefined);
    if (tensor === undefined) throw new Error(`Nothing was given for the graph's input ${name}.`);
    feeds[name] = tensor;
  }
  const outputs = await session.run(feeds, fetches);
  const found = {} as Record<Name, Float32Array>;
  for (const name of fetches) {
    const data = outputs[name]?.data;
    if (!(data instanceof Float32Array)) throw new Error(`onnxruntime gave no numbers for ${name}.`);
    found[name] = data;
  }
  return found;
}

/** A lookup in a plain object. */
export function among(tensors: Readonly<Record<string, Tensor>>): TensorLookup {
  return (name) => (Object.hasOwn(tensors, name) ? tensors[name] : undefined);
}
