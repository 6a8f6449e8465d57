// What `--noise` refuses.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readNoise } from "../../../src/cli/noise_file.ts";
import { writeSafetensors } from "../../../src/weights/safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-noise-"));
const path = join(folder, "noise.safetensors");
afterAll(() => rmSync(folder, { recursive: true }));

function write(shape: readonly number[], data: Float32Array | Int32Array): void {
  const dtype = data instanceof Float32Array ? "F32" : "I32";
  writeFileSync(path, writeSafetensors(new Map([["initial_noise", { dtype, shape, data }]])));
}

test("noise with and without a batch axis is read", async () => {
  const data = Float32Array.from({ length: 8 }, (_, i) => i);
  for (const shape of [
    [1, 2, 1, 2, 2],
    [2, 1, 2, 2],
  ]) {
    write(shape, data);
    expect(await readNoise(path)).toEqual({ data, shape: [2, 1, 2, 2], name: "noise.safetensors" });
  }
});

test.each([
  ["integers", [2, 1, 2, 2], new Int32Array(8), "is I32; expected F32, F16, BF16"],
  ["three axes", [2, 2, 2], new Float32Array(8), "has the shape [2, 2, 2]; expected [1, channels"],
  ["NaN", [2, 1, 2, 2], new Float32Array(8).fill(NaN), "holds NaN at element 0; its numbers must be finite"],
] as const)("noise of %s is refused", async (_, shape, data, sentence) => {
  write(shape, data);
  await expect(readNoise(path)).rejects.toThrow(sentence);
});
