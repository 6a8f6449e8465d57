// What a render may ask for along a long video: an attention plan, and prompts that take over.
import { expect, test } from "vitest";
import { full, tile } from "../../../src/attention/plan_constructors.ts";
import { InputError } from "../../../src/errors.ts";
import { parseModelIndex } from "../../../src/pipelines/model_index.ts";
import type { RenderOptions, RenderSettings } from "../../../src/pipelines/render_options.ts";
import { latentFrameOf, resolveSettings } from "../../../src/pipelines/resolve_settings.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";

const nano = parseModelIndex(readFixtureJson("weft_nano_tokens/model_index.json"));
const resolve = (options: Partial<RenderOptions>): RenderSettings =>
  resolveSettings({ prompt: "a red ball", numFrames: 33, ...options }, nano);

test("a latent frame holds four frames, the first one holds one", () => {
  expect([0, 1, 4, 5, 32].map(latentFrameOf)).toEqual([0, 1, 1, 2, 8]);
});

test("nothing is said of plans and prompts that nobody asked for", () => {
  expect(Object.keys(resolve({}))).not.toContain("attention");
  expect(Object.keys(resolve({ laterPrompts: [] }))).not.toContain("laterPrompts");
});

test("a plan is passed on, and must be for the video's length", () => {
  expect(resolve({ attention: tile(2) }).attention).toEqual(tile(2));
  expect(() => resolve({ attention: { ...full(), numLatentFrames: 5 } })).toThrow(
    "for 5 latent frames, but the video has 9: render 17 frames",
  );
});

test("later prompts are passed on with a blend of 16 frames, or the one asked for", () => {
  const laterPrompts = [{ prompt: "a blue ball", fromFrame: 17 }];
  expect(resolve({ laterPrompts })).toMatchObject({ laterPrompts, promptBlendFrames: 16 });
  expect(resolve({ laterPrompts, promptBlendFrames: 0 })).toMatchObject({ promptBlendFrames: 0 });
});

test.each<readonly [Partial<RenderOptions>, string]>([
  [{ laterPrompts: [{ prompt: " ", fromFrame: 9 }] }, "The prompt from frame 9 on is empty."],
  [{ laterPrompts: [{ prompt: "x", fromFrame: 33 }] }, "a frame from 1 to 32"],
  [{ laterPrompts: [{ prompt: "x", fromFrame: 0 }] }, "not at 0"],
  [
    {
      laterPrompts: [
        { prompt: "x", fromFrame: 5 },
        { prompt: "y", fromFrame: 8 },
      ],
    },
    "a frame from 9 to 32 (four frames share a prompt), not at 8",
  ],
  [{ laterPrompts: [{ prompt: "x", fromFrame: 9 }], promptBlendFrames: -1 }, "must be at least 0, not -1"],
])("%o is refused", (options, message) => {
  expect(() => resolve(options)).toThrow(message);
  expect(() => resolve(options)).toThrow(InputError);
});
