import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { removePartialFiles, requireFolderOf, writeFileAtomically } from "../../../src/cli/atomic_file.ts";
import { InputError } from "../../../src/errors.ts";

// Where a test sets it, files are opened there instead: /dev/full is a disk with no space left.
const redirect = vi.hoisted(() => ({ to: undefined as string | undefined }));
vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>();
  return { ...real, open: (path: string, flags: string) => real.open(redirect.to ?? path, flags) };
});

const folder = mkdtempSync(join(tmpdir(), "weft-atomic-"));
const path = join(folder, "video.mp4");
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  redirect.to = undefined;
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

describe("writeFileAtomically()", () => {
  test("writes all pieces, replacing what was there, and leaves nothing else", async () => {
    writeFileSync(path, "an older and longer video");
    expect(await writeFileAtomically(path, [bytes("one "), bytes("two")])).toBe(7);
    expect(readFileSync(path, "utf8")).toBe("one two");
    expect(readdirSync(folder)).toEqual(["video.mp4"]);
  });

  test("keeps the old file until the new one is whole", async () => {
    writeFileSync(path, "old");
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield bytes("half");
      expect(readFileSync(path, "utf8")).toBe("old");
      yield await Promise.reject(new Error("the encoder failed"));
    }
    await expect(writeFileAtomically(path, pieces())).rejects.toThrow("the encoder failed");
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["video.mp4"]);
  });

  test("leaves nothing when it is aborted between pieces", async () => {
    const controller = new AbortController();
    function* pieces(): Generator<Uint8Array> {
      yield bytes("half");
      controller.abort();
      yield bytes("rest");
    }
    const writing = writeFileAtomically(path, pieces(), controller.signal);
    await expect(writing).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
    expect(readdirSync(folder)).toEqual([]);
  });

  test.runIf(process.platform === "linux")("says so when the disk is full", async () => {
    redirect.to = "/dev/full";
    await expect(writeFileAtomically(path, [bytes("video")])).rejects.toThrow(
      `The disk is full, so ${path} was not written`,
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  test.runIf(process.platform === "linux")("writes to a device, and does not replace it", async () => {
    symlinkSync("/dev/null", path);
    expect(await writeFileAtomically(path, [bytes("video")])).toBe(5);
    expect(readlinkSync(path)).toBe("/dev/null");
    await requireFolderOf("/dev/null");
  });

  test("refuses a folder that is not there, and a folder as a file", async () => {
    const missing = join(folder, "missing", "video.mp4");
    await expect(writeFileAtomically(missing, [])).rejects.toThrow(InputError);
    await expect(writeFileAtomically(folder, [bytes("video")])).rejects.toThrow("is a folder");
  });

  test("removePartialFiles() removes what is being written", async () => {
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield bytes("half");
      expect(readdirSync(folder)).toEqual([expect.stringContaining(".partial")]);
      removePartialFiles();
      expect(readdirSync(folder)).toEqual([]);
      yield await Promise.reject(new Error("the process would be gone here"));
    }
    await expect(writeFileAtomically(path, pieces())).rejects.toThrow("gone here");
  });
});

test.runIf(process.platform === "linux")("requireFolderOf() tells that a folder takes no files", async () => {
  await expect(requireFolderOf("/proc/x.mp4")).rejects.toThrow(InputError);
});

test("requireFolderOf() tells how to make the folder, quoted where needed", async () => {
  await requireFolderOf(path);
  await expect(requireFolderOf(join(folder, "my videos", "x.mp4"))).rejects.toThrow(
    `create it with: mkdir -p '${join(folder, "my videos")}'`,
  );
  writeFileSync(path, "a file");
  await expect(requireFolderOf(join(path, "x.mp4"))).rejects.toThrow("is not a folder");
});
