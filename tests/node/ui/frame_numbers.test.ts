import { expect, test } from "vitest";
import { framesOfClip } from "../../../src/ui/frame_numbers.ts";

test.each([
  [{ start: 0, end: 1 }, "frames 1 to 1 of 33"],
  [{ start: 0, end: 3 }, "frames 1 to 9 of 33"],
  [{ start: 3, end: 9 }, "frames 10 to 33 of 33"],
])("latent frames %o are %s", (clip, text) => {
  expect(framesOfClip(clip, 33)).toBe(text);
});
