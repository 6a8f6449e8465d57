// Large arrays between processes travel through files in memory: what arrives, what stays behind, and who may name a file.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { DistantBytes } from "../../../src/parallel/distant_bytes.ts";
import { ParcelFolder, readChunks, writeChunks } from "../../../src/parallel/parcel_files_node.ts";
import {
  type ParcelNotice,
  parcelNotice,
  ParcelReceiver,
  ParcelSender,
} from "../../../src/parallel/parcels_node.ts";
import { CHUNK_BYTES, type ChunkFile, StripedFile } from "../../../src/parallel/striped_file_node.ts";
import type { Port } from "../../../src/parallel/port.ts";
import { connectPort, openPortServer, removeParcels } from "../../../src/parallel/socket_port_node.ts";

const TOKEN = `parcels ${process.pid}`;
const BIG = Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i));
const MESSAGE = {
  number: 1,
  message: { parts: [new Uint8Array(BIG.buffer), new Uint8Array([1, 2])], data: BIG },
};

/** Element by element, vitest would take seconds. */
function isMessage(found: unknown): boolean {
  const { message } = found as typeof MESSAGE;
  const [big, small] = message.parts;
  return (
    isSame(big, new Uint8Array(BIG.buffer)) &&
    isSame(message.data, BIG) &&
    isSame(small, new Uint8Array([1, 2]))
  );
}

function isSame(a: ArrayBufferView | undefined, b: ArrayBufferView): boolean {
  const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
    Buffer.from(buffer, byteOffset, byteLength);
  return a?.constructor === b.constructor && bytesOf(a).equals(bytesOf(b));
}

const ends: (ParcelSender | ParcelReceiver)[] = [];

afterEach(() => {
  for (const end of ends.splice(0)) end.close();
  removeParcels(TOKEN);
});

const PATH = new ParcelFolder(TOKEN).path;
const isHere = new ParcelFolder(TOKEN).isOpen;
removeParcels(TOKEN);

interface Connection {
  readonly sender: ParcelSender;
  readonly receiver: ParcelReceiver;
}

function connect(folder = new ParcelFolder(TOKEN)): Connection {
  const sender: ParcelSender = new ParcelSender(folder, (notice) => {
    if (notice.type === "weft.written") receiver.takeWritten(notice);
  });
  const receiver = new ParcelReceiver(new ParcelFolder(TOKEN), ({ name }) => sender.takeBack(name));
  ends.push(sender, receiver);
  return { sender, receiver };
}

async function pack(sender: ParcelSender, message: unknown): Promise<unknown> {
  return (await sender.pack(message)).message;
}

function filesHere(): string[] {
  return readdirSync(PATH).toSorted((a, b) => Number(a.split("-")[1]) - Number(b.split("-")[1]));
}

test.runIf(isHere)(
  "large arrays go through files that only this user reads, and that are used again",
  async () => {
    const { sender, receiver } = connect();
    const packed = await pack(sender, MESSAGE);
    expect(statSync(PATH).mode & 0o777).toBe(0o700);
    const files = filesHere();
    expect(files).toHaveLength(2);
    expect(JSON.stringify(packed).length).toBeLessThan(500);
    expect(isMessage(await receiver.unpack(packed, false))).toBe(true);
    for (let turn = 0; turn < 3; turn++) {
      expect(isMessage(await receiver.unpack(await pack(sender, MESSAGE), false))).toBe(true);
    }
    expect(filesHere()).toEqual(files);
    sender.close();
    receiver.close();
    await expect.poll(() => filesHere()).toEqual([]);
  },
);

test.runIf(isHere)(
  "bytes stay where they are until they are fetched, and until they are dropped",
  async () => {
    const { sender, receiver } = connect();
    const { message } = (await receiver.unpack(await pack(sender, MESSAGE), true)) as typeof MESSAGE;
    expect(isSame(message.data, BIG)).toBe(true);
    const [distant] = message.parts as unknown as [DistantBytes];
    expect(distant).toBeInstanceOf(DistantBytes);
    const next = await pack(sender, { parts: [new Uint8Array(2 ** 20).fill(7)] }); // not over the first one
    for (let turn = 0; turn < 2; turn++) {
      const target = new Uint8Array(BIG.byteLength + 8).subarray(4, BIG.byteLength + 4);
      await distant.fetch(target);
      expect(isSame(target, new Uint8Array(BIG.buffer))).toBe(true);
    }
    await expect(distant.fetch(new Uint8Array(3))).rejects.toThrow("400000 bytes cannot be fetched into 3");
    distant.drop();
    distant.drop();
    const { parts } = (await receiver.unpack(next, false)) as { parts: Uint8Array[] };
    expect(isSame(parts[0], new Uint8Array(2 ** 20).fill(7))).toBe(true);
  },
);

test.runIf(isHere)("what nobody has read goes with whoever was to read it", async () => {
  const { sender, receiver } = connect();
  await receiver.unpack(await pack(sender, MESSAGE), true);
  sender.close();
  await expect.poll(() => filesHere()).toHaveLength(1);
  receiver.close();
  await expect.poll(() => filesHere()).toEqual([]);
});

test("small messages stay as they are", async () => {
  const small = { parts: [new Uint8Array(100)], map: new Map([["x", BIG]]) };
  const { sender, receiver } = connect();
  expect(await pack(sender, small)).toBe(small);
  expect(receiver.unpack(small, true)).toBe(small);
});

test.runIf(isHere)("without room, or without a folder, the socket carries everything", async () => {
  const { sender } = connect();
  await pack(sender, MESSAGE);
  rmSync(PATH, { recursive: true });
  const fresh = connect();
  await pack(fresh.sender, { data: new Float32Array(BIG) }); // makes the folder again
  rmSync(PATH, { recursive: true });
  expect(await pack(sender, MESSAGE)).toBe(MESSAGE);
  expect(await pack(sender, MESSAGE)).toBe(MESSAGE);
});

test("a message that names any other file is not followed", () => {
  const label = { "weft.parcel": "../../etc/passwd", type: "Uint8Array", bytes: 10, turn: 0, written: 10 };
  const message = { parts: [label] };
  expect(parcelNotice({ type: "weft.returned", name: "../../etc/passwd" })).toBeUndefined();
  expect(connect().receiver.unpack(message, false)).toBe(message);
});

test.runIf(isHere)("very large bytes are read as far as they are written", async () => {
  const notices: ParcelNotice[] = [];
  const folderOf = new ParcelFolder(TOKEN);
  const sender = new ParcelSender(folderOf, (notice) => notices.push(notice));
  const receiver = new ParcelReceiver(folderOf, () => undefined);
  ends.push(sender, receiver);
  const bytes = new Uint8Array(11_000_000).map((_, i) => i % 253);
  const { message, written } = await sender.pack({ bytes });
  const { bytes: distant } = (await receiver.unpack(message, true)) as { bytes: DistantBytes };
  await written;
  const upTo = notices.flatMap((notice) => (notice.type === "weft.written" ? [notice.upTo] : []));
  expect(upTo.at(-1)).toBe(bytes.byteLength);
  expect(upTo).toEqual(upTo.toSorted((x, y) => x - y));
  const target = new Uint8Array(bytes.byteLength);
  let isDone = false;
  const fetched = distant.fetch(target).then(() => (isDone = true));
  for (const notice of notices) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(isDone).toBe(false);
    if (notice.type === "weft.written") receiver.takeWritten(notice);
  }
  await fetched;
  expect(isSame(target, bytes)).toBe(true);
});

test.runIf(isHere)(
  "who waits for what cannot be written, or for a connection that ends, is told",
  async () => {
    const label = { "weft.parcel": "1-1", type: "Uint8Array", bytes: 10, turn: 3, written: 0 };
    const { receiver, sender } = connect();
    await pack(sender, MESSAGE); // makes the folder
    for (const end of [
      () => receiver.takeWritten({ type: "weft.written", name: "1-1", turn: 3, upTo: -1 }),
      () => receiver.close(),
    ]) {
      writeFileSync(join(PATH, "1-1"), "0123456789");
      const { bytes } = (await receiver.unpack({ bytes: label }, true)) as { bytes: DistantBytes };
      const fetched = bytes.fetch(new Uint8Array(10));
      const outcome = expect(fetched).rejects.toThrow("could not be written, or its connection is closed");
      await new Promise((resolve) => setTimeout(resolve, 10));
      end();
      await outcome;
      bytes.drop();
    }
  },
);

test("memory that the kernel may not touch is copied", async () => {
  const path = join(tmpdir(), `chunks ${process.pid}`);
  const [written, file] = [new StripedFile(path, "wx"), new StripedFile(path, "r")];
  const refused = Object.assign(new Error("bad address"), { code: "EFAULT" });
  const bytes = new Uint8Array(5_000_000).map((_, i) => i % 251);
  const target = new Uint8Array(bytes.byteLength);
  const foreign = new Set<ArrayBufferLike>([bytes.buffer, target.buffer]);
  const guarded: ChunkFile = {
    write: async (from, position) => {
      if (foreign.has(from.buffer)) throw refused;
      return await written.write(from, position);
    },
    read: async (into, position) => {
      if (foreign.has(into.buffer)) throw refused;
      return await file.read(into, position);
    },
  };
  await writeChunks(guarded, bytes);
  await readChunks(guarded, target);
  expect(isSame(target, bytes)).toBe(true);
  await Promise.all([written.close(), file.close(), StripedFile.remove(path)]);
});

test("chunks lie in eight files in turn", async () => {
  const folder = mkdtempSync(join(tmpdir(), "stripes-"));
  const path = join(folder, "x");
  const file = new StripedFile(path, "wx");
  const bytes = new Uint8Array(17.5 * CHUNK_BYTES).map((_, i) => (i / 1000) % 249);
  await writeChunks(file, bytes);
  const sizes = readdirSync(folder)
    .toSorted()
    .map((name) => statSync(join(folder, name)).size / CHUNK_BYTES);
  expect(sizes).toEqual([3, 2.5, 2, 2, 2, 2, 2, 2]);
  const target = new Uint8Array(bytes.byteLength);
  const read = new StripedFile(path, "r");
  await readChunks(read, target);
  expect(isSame(target, bytes)).toBe(true);
  await Promise.all([file.close(), read.close()]);
  await StripedFile.remove(path);
  expect(readdirSync(folder)).toEqual([]);
  rmSync(folder, { recursive: true });
});

/** A port whose other end is there. */
async function openPorts(): Promise<{
  readonly mine: Port;
  readonly accepted: Port;
  readonly close: () => void;
}> {
  const server = await openPortServer(TOKEN);
  const accepted = server.accept("a");
  const mine = connectPort(server.address, { token: TOKEN, ticket: "a" });
  const close = (): void => {
    for (const port of [mine, accepted]) port.close();
    server.close();
  };
  return { mine, accepted, close };
}

async function postWhole(port: Port, message: unknown): Promise<void> {
  await new Promise<void>((resolve) => port.post(message, [], resolve));
}

test.runIf(isHere)(
  "over sockets: order stays, and what is damaged on its way is a lost message",
  async () => {
    const { mine, accepted, close } = await openPorts();
    const big = { number: 0, data: BIG };
    await Promise.all([big, "second", { ...big, number: 2 }].map((each) => postWhole(mine, each))); // all of it waits for somebody who listens
    writeFileSync(join(PATH, filesHere()[0]!), "cut");
    const came: unknown[] = [];
    await new Promise<void>((resolve) => {
      accepted.listen({
        onMessage: (message) => {
          came.push(message);
          if (came.length === 2) resolve();
        },
        onClose: () => undefined,
      });
    });
    expect(came[0]).toBe("second");
    expect(isSame((came[1] as typeof MESSAGE.message).data, BIG)).toBe(true);
    close();
  },
);

test.runIf(isHere)(
  "over sockets: files go back and are used again; distant bytes that are damaged say so",
  async () => {
    const { mine, accepted, close } = await openPorts();
    const distant: DistantBytes[] = [];
    let tell: () => void = () => undefined;
    let tellBack: () => void = () => undefined;
    mine.listen({ onMessage: () => tellBack(), onClose: () => undefined });
    accepted.listen({
      takesDistant: true,
      onMessage: (message) => {
        distant.push((message as { bytes: DistantBytes }).bytes);
        tell();
      },
      onClose: () => undefined,
    });
    const bytes = new Uint8Array(9_000_000);
    for (let turn = 1; turn <= 4; turn++) {
      const came = new Promise<void>((resolve) => (tell = resolve));
      await postWhole(mine, { bytes: bytes.fill(turn) });
      bytes.fill(0); // it may change now
      await came;
      const target = new Uint8Array(bytes.byteLength);
      await distant.at(-1)!.fetch(target);
      expect(target.every((value) => value === turn)).toBe(true);
      distant.at(-1)!.drop();
      const back = new Promise<void>((resolve) => (tellBack = resolve));
      accepted.post("what was dropped is back when this comes");
      await back;
    }
    expect(filesHere()).toHaveLength(5);
    const came = new Promise<void>((resolve) => (tell = resolve));
    await Promise.all([postWhole(mine, { bytes }), came]);
    writeFileSync(join(PATH, filesHere()[0]!), "cut");
    await expect(distant.at(-1)!.fetch(new Uint8Array(bytes.byteLength))).rejects.toThrow("not 9000000");
    close();
    await expect.poll(() => filesHere()).toEqual([]);
    expect(existsSync(PATH)).toBe(true);
  },
);
