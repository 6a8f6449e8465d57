// The file of `--dump`: parts become tensors, and nothing is there before it is whole.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { DumpFile } from "../../../src/cli/dump_file.ts";
import { openCheckpointFile } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-dump-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("parts are joined along their axis, and the file appears when it is whole", async () => {
  const dump = new DumpFile(join(folder, "d.safetensors"));
  await dump.add({ name: "ids", shape: [3], data: Int32Array.of(7, 8, 9) });
  for (const frames of [1, 2]) {
    const data = new Float32Array(frames * 2).fill(frames);
    await dump.add({ name: "video", shape: [1, frames, 2], data, axis: 1 });
  }
  expect(readdirSync(folder)).toEqual([]);
  await dump.write({ seed: 7 });
  await dump.close();
  expect(readdirSync(folder)).toEqual(["d.safetensors"]);
  const file = await openCheckpointFile(openFolderSource(folder), "d.safetensors");
  expect(file.info("video")).toMatchObject({ shape: [1, 3, 2], dtype: "F32" });
  expect(await file.readF32("video")).toEqual(Float32Array.of(1, 1, 2, 2, 2, 2));
  expect([...(await file.readIntegers("ids"))]).toEqual([7, 8, 9]);
  expect(readFileSync(dump.path, "latin1")).toContain('{\\"seed\\":7}');
});

test("numbers that are not of their shape, and parts out of turn, are refused", async () => {
  const dump = new DumpFile(join(folder, "e.safetensors"));
  const data = new Float32Array(2);
  await expect(dump.add({ name: "a", shape: [3], data })).rejects.toThrow("a [3] cannot hold 2 numbers.");
  await dump.add({ name: "a", shape: [2], data });
  await dump.add({ name: "b", shape: [2], data });
  await expect(dump.add({ name: "a", shape: [2], data })).rejects.toThrow("after another tensor had begun");
  await dump.close();
  const nowhere = new DumpFile(join(folder, "no", "e.safetensors"));
  await expect(nowhere.add({ name: "a", shape: [2], data })).rejects.toThrow("is gone or takes no files");
  expect(readdirSync(folder)).toEqual(["d.safetensors"]);
});
