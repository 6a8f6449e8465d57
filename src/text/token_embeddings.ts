// The first numbers of a text: rows of the text encoder's table of embeddings. Only the rows of its tokens are read.

import { WeightsError } from "../errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { UMT5Config } from "./umt5_config.ts";

/**
 * The embeddings of each prompt's token ids, f32 [numTokens, d_model].
 *
 * @throws {WeightsError} when the table is missing or of another size than the config's, or lacks an id
 */
export async function readEmbeddings(
  checkpoint: Checkpoint,
  prompts: readonly (readonly number[])[],
  { config, signal }: { config: UMT5Config; signal?: AbortSignal | undefined },
): Promise<Float32Array[]> {
  const name = checkpoint.has("shared.weight") ? "shared.weight" : "encoder.embed_tokens.weight";
  const { vocab_size, d_model } = config;
  const { shape } = checkpoint.info(name);
  if (shape.join() !== `${vocab_size},${d_model}`) {
    throw new WeightsError(
      `${checkpoint.location}: tensor "${name}" is mis-shaped: it is [${shape.join(", ")}], the model's config asks ` +
        `for [${vocab_size}, ${d_model}].`,
    );
  }
  const rows: Float32Array[] = [];
  for (const ids of prompts) rows.push(await checkpoint.readRows(name, ids, signal));
  return rows;
}
