// How fast a process hands another large arrays, as workers do in a render, beside what a file that is made, written, read
// whole and taken away each time does:
//   node bench.mjs link [mb=45,11] [rounds=20] [json=FILE]
// Both are timed from posting to the answer that the last byte is where it is wanted, alternately in one run. "Both ways" is
// two such processes at it at the same time, each to the other.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { copyThreadsEnvironment } from "../../../src/parallel/copy_threads_node.ts";
import { DistantBytes } from "../../../src/parallel/distant_bytes.ts";
import { ParcelFolder } from "../../../src/parallel/parcel_files_node.ts";
import type { Port } from "../../../src/parallel/port.ts";
import { connectPort, openPortServer, removeParcels } from "../../../src/parallel/socket_port_node.ts";
import { median } from "../median.ts";

const TOKEN = "bench link";

type Way = "parcel" | "fresh file";

/** What one end asks of the other: to take an array, or a file's name in its place. */
interface Handed {
  readonly way: Way;
  readonly bytes: DistantBytes | Uint8Array | string;
}

/** One measurement. */
interface LinkRow {
  readonly way: Way;
  readonly megabytes: number;
  readonly ways: "one way" | "both ways";
  /** Each way. */
  readonly gbs: number;
  readonly ms: number;
}

/** Takes what is handed over, and says so. */
class End {
  readonly #port: Port;
  readonly #target = new Uint8Array(2 ** 28);
  #onTaken: () => void = () => undefined;
  #numFiles = 0;

  constructor(port: Port) {
    this.#port = port;
    port.listen({
      takesDistant: true,
      onMessage: (message) => void this.#take(message),
      onClose: () => process.exit(),
    });
  }

  /** Hands an array over; resolves when the other end has it. */
  async hand(way: Way, bytes: Uint8Array): Promise<void> {
    const taken = new Promise<void>((resolve) => (this.#onTaken = resolve));
    if (way === "parcel") this.#port.post({ way, bytes });
    else {
      const name = `${process.pid}-fresh${this.#numFiles++}`;
      await writeFile(join(new ParcelFolder(TOKEN).path, name), bytes);
      this.#port.post({ way, bytes: name });
    }
    await taken;
  }

  /** Has the other end hand over as much, so often, from now on. */
  ask(way: Way, size: number, rounds: number): void {
    this.#port.post({ echo: way, size, rounds });
  }

  async #take(message: unknown): Promise<void> {
    if (message === "taken") return this.#onTaken();
    if (isAsked(message)) {
      const bytes = new Uint8Array(message.size).fill(1);
      for (let round = 0; round < message.rounds; round++) await this.hand(message.echo, bytes);
      return;
    }
    const { bytes } = message as Handed;
    if (bytes instanceof DistantBytes) {
      await bytes.fetch(this.#target.subarray(0, bytes.byteLength));
      bytes.drop();
    } else if (typeof bytes === "string") {
      const path = join(new ParcelFolder(TOKEN).path, bytes);
      this.#target.set(await readFile(path));
      await unlink(path);
    }
    this.#port.post("taken");
  }
}

function isAsked(
  message: unknown,
): message is { readonly echo: Way; readonly size: number; readonly rounds: number } {
  return typeof message === "object" && message !== null && "echo" in message;
}

/** Runs the bench. */
export async function benchLink(args: readonly string[]): Promise<void> {
  const options = new Map(args.map((arg) => arg.split("=", 2) as [string, string]));
  const sizes = (options.get("mb") ?? "45,11").split(",").map((mb) => 1e6 * Number(mb));
  const rounds = Number(options.get("rounds") ?? 20);
  if (!new ParcelFolder(TOKEN).isOpen) throw new Error("There is no /dev/shm with a gigabyte of room here.");
  const server = await openPortServer(TOKEN);
  const child = spawn(process.execPath, [process.argv[1] ?? "", "link-peer", server.address], {
    env: { ...process.env, ...copyThreadsEnvironment(2) },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const end = new End(server.accept("a"));
  const rows: LinkRow[] = [];
  for (const size of sizes) {
    for (const ways of ["one way", "both ways"] as const) {
      const times: Record<Way, number[]> = { parcel: [], "fresh file": [] };
      const bytes = new Uint8Array(size).fill(2);
      for (const way of ["parcel", "fresh file", "parcel", "fresh file"] as const) {
        if (ways === "both ways") end.ask(way, size, rounds);
        for (let round = 0; round < rounds; round++) {
          const from = performance.now();
          await end.hand(way, bytes);
          if (round > 0) times[way].push(performance.now() - from);
        }
      }
      for (const way of ["parcel", "fresh file"] as const) {
        const ms = median(times[way]);
        rows.push({ way, megabytes: size / 1e6, ways, gbs: round3(size / ms / 1e6), ms: round3(ms) });
      }
    }
  }
  console.table(rows);
  const json = options.get("json");
  if (json) writeFileSync(json, JSON.stringify(rows, null, 1));
  child.kill();
  server.close();
  removeParcels(TOKEN);
  process.exit();
}

/** The other process. */
export async function linkPeer([address = ""]: readonly string[]): Promise<void> {
  new End(connectPort(address, { token: TOKEN, ticket: "a" }));
  await new Promise(() => undefined);
}

function round3(value: number): number {
  return Number(value.toPrecision(3));
}
