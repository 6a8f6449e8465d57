// Opens the diffusers fixtures (tests/fixtures/wan_*) as models, and their expected tensors.
import { parseWanTransformerConfig, type WanTransformerConfig } from "../../src/dit/transformer_config.ts";
import { parseUMT5Config, type UMT5Config } from "../../src/text/umt5_config.ts";
import { type Checkpoint, openCheckpoint } from "../../src/weights/checkpoint.ts";
import type { FileSource } from "../../src/weights/file_source.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { type FixtureTensor, fixturePath, readFixtureJson, readFixtureTensors } from "./fixture_tensors.ts";
import { fixtureTitle, largeFixture } from "./large_fixtures.ts";

/** The Wan fixtures. Of wan_head128 the repository holds everything but the transformer's weights. */
export const WAN_FIXTURES = ["wan_tiny", "wan_head128"] as const;

/** Name of a Wan fixture. */
export type WanFixture = (typeof WAN_FIXTURES)[number];

const wholeHead128 = largeFixture("wan-head128");

/** Fixtures whose transformer can be loaded here. */
export function availableFixtures(): readonly WanFixture[] {
  return wholeHead128 === undefined ? ["wan_tiny"] : WAN_FIXTURES;
}

/** For the titles of tests that run over `availableFixtures()`. */
export const FIXTURES_TITLE = `wan_tiny, ${fixtureTitle("wan_head128", wholeHead128 !== undefined)}`;

/** A fixture's folder, the whole model where it is: absolute. */
export function fixtureFolder(name: WanFixture): string {
  return name === "wan_head128" && wholeHead128 !== undefined ? wholeHead128 : fixturePath(name);
}

/** A fixture's model folder. */
export function fixtureSource(name: WanFixture): FileSource {
  return openFolderSource(fixtureFolder(name));
}

/** The transformer of a fixture. */
export async function fixtureTransformer(
  name: WanFixture,
): Promise<{ config: WanTransformerConfig; checkpoint: Checkpoint }> {
  return {
    config: parseWanTransformerConfig(readFixtureJson(`${fixtureFolder(name)}/transformer/config.json`)),
    checkpoint: await openCheckpoint(fixtureSource(name), "transformer"),
  };
}

/** The text encoder of a fixture. */
export async function fixtureTextEncoder(
  name: WanFixture,
): Promise<{ config: UMT5Config; checkpoint: Checkpoint }> {
  return {
    config: parseUMT5Config(readFixtureJson(`${fixtureFolder(name)}/text_encoder/config.json`)),
    checkpoint: await openCheckpoint(fixtureSource(name), "text_encoder"),
  };
}

/** What diffusers computed, by name; throws for unknown names. */
export function expectedTensors(name: WanFixture): (tensor: string) => FixtureTensor {
  const tensors = readFixtureTensors(`${fixtureFolder(name)}/expected.safetensors`);
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

/** Our [tokens, D] against diffusers' layout: channel-first for the patches, padded rows repeated for the text. */
export function comparableActivation(
  activation: string,
  { shape, data }: { shape: readonly number[]; data: Float32Array },
  rows: number,
): Float32Array {
  if (activation === "patch") {
    const channels = shape[1] ?? 0;
    const tokens = data.length / channels;
    return Float32Array.from(
      { length: data.length },
      (_, i) => data[(i % channels) * tokens + Math.floor(i / channels)] ?? NaN,
    );
  }
  return activation === "text" ? data.subarray(0, rows * (shape[2] ?? 0)) : data;
}
