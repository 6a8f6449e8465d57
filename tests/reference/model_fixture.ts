// Opens the diffusers fixtures (tests/fixtures/wan_*) as models, and their expected tensors.
import { parseWanTransformerConfig, type WanTransformerConfig } from "../../src/dit/transformer_config.ts";
import { parseUMT5Config, type UMT5Config } from "../../src/text/umt5_config.ts";
import { type Checkpoint, openCheckpoint } from "../../src/weights/checkpoint.ts";
import type { FileSource } from "../../src/weights/file_source.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { type FixtureTensor, fixturePath, readFixtureJson, readFixtureTensors } from "./fixture_tensors.ts";

/** The Wan fixtures. */
export const WAN_FIXTURES = ["wan_tiny", "wan_head128"] as const;

/** Name of a Wan fixture. */
export type WanFixture = (typeof WAN_FIXTURES)[number];

/** A fixture's model folder. */
export function fixtureSource(name: WanFixture): FileSource {
  return openFolderSource(fixturePath(name));
}

/** The transformer of a fixture. */
export async function fixtureTransformer(
  name: WanFixture,
): Promise<{ config: WanTransformerConfig; checkpoint: Checkpoint }> {
  return {
    config: parseWanTransformerConfig(readFixtureJson(`${name}/transformer/config.json`)),
    checkpoint: await openCheckpoint(fixtureSource(name), "transformer"),
  };
}

/** The text encoder of a fixture. */
export async function fixtureTextEncoder(
  name: WanFixture,
): Promise<{ config: UMT5Config; checkpoint: Checkpoint }> {
  return {
    config: parseUMT5Config(readFixtureJson(`${name}/text_encoder/config.json`)),
    checkpoint: await openCheckpoint(fixtureSource(name), "text_encoder"),
  };
}

/** What diffusers computed, by name; throws for unknown names. */
export function expectedTensors(name: WanFixture): (tensor: string) => FixtureTensor {
  const tensors = readFixtureTensors(`${name}/expected.safetensors`);
  return (tensor) => {
    const found = tensors.get(tensor);
    if (found === undefined) throw new Error(`${name} has no expected tensor ${tensor}.`);
    return found;
  };
}

/** The real tokens of padded ids: everything up to and including `</s>`. */
export function realTokens(inputIds: ArrayLike<number>): number[] {
  const ids = Array.from(inputIds);
  return ids.slice(0, ids.indexOf(1) + 1);
}
