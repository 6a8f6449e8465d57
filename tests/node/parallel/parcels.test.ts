// Large arrays between processes travel through files in memory: what arrives, what stays behind, and who may name a file.
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { Parcels } from "../../../src/parallel/parcels_node.ts";
import { connectPort, openPortServer, removeParcels } from "../../../src/parallel/socket_port_node.ts";

const TOKEN = `parcels ${process.pid}`;
const BIG = Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i));
const MESSAGE = {
  number: 1,
  message: { parts: [new Uint8Array(BIG.buffer), new Uint8Array([1, 2])], data: BIG },
};

afterEach(() => removeParcels(TOKEN));

/** The folder of this job, if this machine has memory for files. */
async function folder(): Promise<string | undefined> {
  if (!existsSync("/dev/shm")) return undefined;
  removeParcels(TOKEN);
  const before = new Set(readdirSync("/dev/shm"));
  const parcels = Parcels.of(TOKEN);
  await parcels.unpack(await parcels.pack(MESSAGE));
  const made = readdirSync("/dev/shm").find((name) => !before.has(name));
  return made === undefined ? undefined : `/dev/shm/${made}`;
}

const isHere = (await folder()) !== undefined;

test.runIf(isHere)(
  "large arrays go through files that only this user reads, and are gone afterwards",
  async () => {
    const path = (await folder())!;
    expect(statSync(path).mode & 0o777).toBe(0o700);
    const parcels = Parcels.of(TOKEN);
    const packed = await parcels.pack(MESSAGE);
    expect(readdirSync(path)).toHaveLength(2);
    expect(JSON.stringify(packed).length).toBeLessThan(500);
    expect(parcels.isPacked(packed)).toBe(true);
    expect(await Parcels.of(TOKEN).unpack(packed)).toEqual(MESSAGE);
    expect(readdirSync(path)).toEqual([]);
    parcels.remove();
    expect(existsSync(path)).toBe(false);
  },
);

test("small messages stay as they are", async () => {
  const small = { parts: [new Uint8Array(100)], map: new Map([["x", BIG]]) };
  const parcels = Parcels.of(TOKEN);
  expect(await parcels.pack(small)).toBe(small);
  expect(parcels.isPacked(small)).toBe(false);
});

test.runIf(isHere)("without room, or without a folder, the socket carries everything", async () => {
  const path = (await folder())!;
  const parcels = Parcels.of(TOKEN);
  await parcels.unpack(await parcels.pack(MESSAGE));
  rmSync(path, { recursive: true });
  expect(await parcels.pack(MESSAGE)).toBe(MESSAGE);
  expect(await parcels.pack(MESSAGE)).toBe(MESSAGE);
});

test("a message that names any other file is not followed", () => {
  const label = { "weft.parcel": "../../etc/passwd", type: "Uint8Array", bytes: 10 };
  expect(Parcels.of(TOKEN).isPacked({ parts: [label] })).toBe(false);
});

test.runIf(isHere)(
  "over sockets: order stays, and what is damaged on its way is a lost message",
  async () => {
    const path = (await folder())!;
    const server = await openPortServer(TOKEN);
    const accepted = server.accept("a");
    const port = connectPort(server.address, { token: TOKEN, ticket: "a" });
    port.post({ number: 0, data: BIG });
    port.post("second");
    await new Promise((resolve) => setTimeout(resolve, 300)); // both wait for somebody who listens
    port.post({ number: 2, data: BIG });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const [first] = readdirSync(path).toSorted((a, b) => Number(a.split("-")[1]) - Number(b.split("-")[1]));
    writeFileSync(`${path}/${first}`, "cut");
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
    expect(came).toEqual(["second", { number: 2, data: BIG }]);
    port.close();
    server.close();
  },
);
