// What the options of guidance come to: heads from a list, a file or the model.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type GuidanceFlags, guidanceOptions } from "../../../src/cli/guidance_option.ts";
import { InputError } from "../../../src/errors.ts";
import { MODEL_HEADS } from "../../../src/pipelines/model_heads.ts";
import { openMemorySource } from "../../../src/weights/memory_source.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-heads-"));
afterAll(() => rmSync(folder, { recursive: true }));
const bytes = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));
const file = { format: "weft-heads", version: 1, softness: 0.25, heads: [{ layer: 2, head: 1 }] };
const bare = openMemorySource(new Map());
const withHeads = openMemorySource(new Map([[MODEL_HEADS[1], bytes({ ...file, heads: [{ layer: 5 }] })]]));

function softpag(scale: number, layer: object): object {
  return { perturbedGuidance: { scale, perturbation: { kind: "heads", heads: [layer] } } };
}

test("a list of heads has a softness of a half, or the one that is given", async () => {
  const half = softpag(3, { layers: [4], heads: [0, 2], strength: 0.5 });
  expect(await guidanceOptions({ softpag: 3, heads: "4.0,4.2" }, bare)).toEqual(half);
  const whole = softpag(3, { layers: [4], strength: 1 });
  expect(await guidanceOptions({ softpag: 3, heads: "4", softness: 1 }, bare)).toEqual(whole);
});

test("a file's softness counts unless another is given; without --heads the model's are taken", async () => {
  const path = join(folder, "heads.json");
  writeFileSync(path, JSON.stringify(file));
  const own = { layers: [2], heads: [1], strength: 0.25 };
  expect(await guidanceOptions({ softpag: 1, heads: path }, bare)).toEqual(softpag(1, own));
  const other = softpag(1, { ...own, strength: 0.75 });
  expect(await guidanceOptions({ softpag: 1, heads: path, softness: 0.75 }, bare)).toEqual(other);
  expect(await guidanceOptions({ softpag: 2 }, withHeads)).toEqual(
    softpag(2, { layers: [5], strength: 0.25 }),
  );
});

test("skipped layers, rescale and interval are handed on; nothing asked is nothing", async () => {
  const flags = { stg: 1.5, stgLayers: [2, 5], guidanceRescale: 0.7, guidanceInterval: [0, 0.5] } as const;
  expect(await guidanceOptions(flags, bare)).toEqual({
    perturbedGuidance: { scale: 1.5, perturbation: { kind: "skipped_blocks", layers: [2, 5] } },
    guidanceRescale: 0.7,
    guidanceInterval: { start: 0, stop: 0.5 },
  });
  expect(await guidanceOptions({}, bare)).toEqual({});
});

test.each<[GuidanceFlags, RegExp]>([
  [{ heads: "4" }, /need --softpag SCALE/],
  [{ softness: 1 }, /need --softpag SCALE/],
  [{ stgLayers: [1] }, /needs --stg SCALE/],
  [{ stg: 1 }, /--stg needs --stg-layers/],
  [{ stg: 1, stgLayers: [1], softpag: 1, heads: "1" }, /not both/],
  [{ softpag: 1 }, /the model ships none/],
  [{ softpag: 1, heads: "/nowhere/h.json" }, /There are no heads "\/nowhere\/h.json"/],
])("%j is refused with a sentence", async (flags, message) => {
  await expect(guidanceOptions(flags, bare)).rejects.toThrow(InputError);
  await expect(guidanceOptions(flags, bare)).rejects.toThrow(message);
});
