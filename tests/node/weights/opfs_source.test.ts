import { beforeEach, expect, test } from "vitest";
import type { ByteRange, FileSource } from "../../../src/weights/file_source.ts";
import { measureOpfs, openOpfsSource, purgeOpfs } from "../../../src/weights/opfs_source.ts";
import { createFakeOpfs, type FakeFolder } from "./fake_opfs.ts";
import { expectSameBytes, expectWeightsError, sourceOf } from "./model_files.ts";

const PIECE = 4 * 1024 * 1024;
const BYTES = Uint8Array.from({ length: 2 * PIECE + 1000 }, (_, i) => (i * 31) % 249);

let opfs: FakeFolder;
let reads: (ByteRange | undefined)[];
let remote: FileSource;
let offlineAfter: number;

beforeEach(() => {
  opfs = createFakeOpfs();
  reads = [];
  offlineAfter = Number.POSITIVE_INFINITY;
  const inner = sourceOf({ "t/w.safetensors": BYTES, "config.json": { a: 1 } });
  remote = {
    ...inner,
    async read(path, range, signal) {
      if (reads.length >= offlineAfter) throw new TypeError("offline");
      reads.push(range);
      return inner.read(path, range, signal);
    },
    async size(path) {
      if (reads.length >= offlineAfter) throw new TypeError("offline");
      return inner.size(path);
    },
  };
});

const open = () => openOpfsSource(remote, { key: "weft nano/1", root: opfs.handle });

test("a range fetches its own pieces, once", async () => {
  const source = await open();
  expect(await source.size("t/w.safetensors")).toBe(BYTES.length);
  const range = { start: PIECE - 5, end: PIECE + 5 };
  expectSameBytes(await source.read("t/w.safetensors", range), BYTES.slice(range.start, range.end));
  expect(reads).toEqual([
    { start: 0, end: PIECE },
    { start: PIECE, end: 2 * PIECE },
  ]);
  expectSameBytes(
    await source.read("t/w.safetensors", { start: 3, end: 2 * PIECE }),
    BYTES.slice(3, 2 * PIECE),
  );
  expect(reads.length).toBe(2);
  await expectWeightsError(source.read("t/w.safetensors", { start: 0, end: BYTES.length + 1 }), /truncated/);
});

test("a download that broke off goes on where it stopped; what is here needs no network", async () => {
  offlineAfter = 2;
  await expect((await open()).download("t/w.safetensors")).rejects.toThrow("offline");
  expect(reads.length).toBe(2);
  offlineAfter = Number.POSITIVE_INFINITY;
  const progress: [number, number][] = [];
  const source = await open();
  await source.download("t/w.safetensors", { onProgress: (done, total) => progress.push([done, total]) });
  expect(reads.length).toBe(3);
  expect(progress).toEqual([PIECE, 2 * PIECE, BYTES.length].map((done) => [done, BYTES.length]));
  offlineAfter = 0;
  const offline = await open();
  expect(await offline.has("t/w.safetensors")).toBe(true);
  expectSameBytes(await offline.read("t/w.safetensors"), BYTES);
});

test("a torn piece is fetched again", async () => {
  await (await open()).download("t/w.safetensors");
  const [path] = [...opfs.files().keys()].filter((name) => name.endsWith("/1"));
  expect(path).toBe("weft-models/weft_nano_1/t~w.safetensors/1");
  const folder = await (
    await (await opfs.handle.getDirectoryHandle("weft-models")).getDirectoryHandle("weft_nano_1")
  ).getDirectoryHandle("t~w.safetensors");
  const stream = await (await folder.getFileHandle("1")).createWritable();
  await stream.write(BYTES.slice(0, 10));
  await stream.close();
  expectSameBytes(await (await open()).read("t/w.safetensors"), BYTES);
  expect(reads.length).toBe(4);
});

test("purge forgets one model, purgeOpfs all", async () => {
  const source = await open();
  const other = await openOpfsSource(remote, { key: "other", root: opfs.handle });
  await source.read("config.json");
  await other.read("config.json");
  await source.purge();
  await source.purge();
  expect([...opfs.files().keys()].every((name) => name.startsWith("weft-models/other/"))).toBe(true);
  await source.read("config.json");
  expect(reads.length).toBe(3);
  await purgeOpfs(opfs.handle);
  await purgeOpfs(opfs.handle);
  expect(opfs.files().size).toBe(0);
});

test("it can be told how much of a file is here, and how much of everything", async () => {
  expect(await measureOpfs(opfs.handle)).toBe(0);
  const source = await open();
  expect(await source.cachedBytes("t/w.safetensors")).toBe(0);
  await source.read("t/w.safetensors", { start: 2 * PIECE, end: 2 * PIECE + 1 });
  expect(await source.cachedBytes("t/w.safetensors")).toBe(1000);
  await source.download("t/w.safetensors");
  expect(await source.cachedBytes("t/w.safetensors")).toBe(BYTES.length);
  const sizeFile = String(BYTES.length).length;
  expect(await measureOpfs(opfs.handle)).toBe(BYTES.length + sizeFile);
  await purgeOpfs(opfs.handle);
  expect(await measureOpfs(opfs.handle)).toBe(0);
});

test("a full disk is said once, and the model still loads", async () => {
  opfs.quotaBytes = 100;
  const notices: string[] = [];
  const source = await openOpfsSource(remote, {
    key: "k",
    root: opfs.handle,
    onNotice: (message) => notices.push(message),
  });
  expectSameBytes(await source.read("t/w.safetensors"), BYTES);
  expect(notices).toEqual([expect.stringContaining("storage is full")]);
});

test("an abort stops a download before its next piece", async () => {
  const controller = new AbortController();
  const source = await open();
  const download = source.download("t/w.safetensors", {
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(download).rejects.toMatchObject({ name: "AbortError" });
  expect(reads.length).toBe(1);
});

test("what the source does not have, the cache does not have", async () => {
  const source = await open();
  expect(await source.has("nothing")).toBe(false);
  await expectWeightsError(source.read("nothing"), /nothing is missing/);
  await expectWeightsError(source.read("../x"), /not a path inside a model folder/);
});
