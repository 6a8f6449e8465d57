// The worker processes of one render: started, connected, ended.

import { type ChildProcess, spawn } from "node:child_process";
import { requestAdapter } from "../gpu/gpu.ts";
import { copyThreadsEnvironment } from "../parallel/copy_threads_node.ts";
import type { Port } from "../parallel/port.ts";
import { SegmentPool } from "../parallel/segment_pool.ts";
import { openPortServer, type PortServer, removeParcels } from "../parallel/socket_port_node.ts";
import { openHardware } from "./adapter_node.ts";
import { type CardPlacement, placeOnCards, UNPINNED } from "./card_pinning.ts";
import { cpuEnvironment, cpuThreads } from "./engine_option.ts";
import { listCards } from "./graphics_cards.ts";
import { swiftshaderEnvironment } from "./swiftshader_node.ts";
import { workerName } from "./workers_words.ts";

/** With which ticket a worker comes for which work. */
export const TICKETS = { clips: "worker", segments: "segments" } as const;

/** Variable in which a worker process gets its job's token; arguments could be read by everybody on the machine. */
export const TOKEN_VARIABLE = "WEFT_JOB_TOKEN";

/** Processes of this host that denoise clips and make segments. */
export class WorkerProcesses {
  /** All of them, for the making of segments. */
  readonly segments: SegmentPool;
  /** Which process computes on which graphics card. */
  readonly placement: CardPlacement;
  readonly #server: PortServer;
  readonly #children: readonly ChildProcess[];
  readonly #token: string;

  private constructor({ server, children, segments, placement, token }: Started) {
    this.#token = token;
    this.segments = segments;
    this.placement = placement;
    this.#server = server;
    this.#children = children;
  }

  /**
   * Starts processes.
   *
   * @param token what only the processes of this render know
   */
  static async start(
    count: number,
    token: string,
    { onClipWorker, onEnd }: WorkerListener,
  ): Promise<WorkerProcesses> {
    const { placement, env } = await findDevices(count);
    const server = await openPortServer(token);
    const segments = new SegmentPool(token);
    server.acceptAll(TICKETS.clips, onClipWorker);
    server.acceptAll(TICKETS.segments, (port) => segments.add(port));
    const secret = { ...process.env, ...copyThreadsEnvironment(count), ...env, [TOKEN_VARIABLE]: token };
    const children = Array.from({ length: count }, (_, index) =>
      startChild(server.address, index, { placement, env: secret }),
    );
    for (const [index, child] of children.entries()) {
      child.once("exit", (code, signal) => onEnd(workerName(index), `it has ended with ${code ?? signal}`));
    }
    process.once("exit", () => {
      for (const child of children) child.kill("SIGKILL");
      removeParcels(token);
    });
    return new WorkerProcesses({ server, children, segments, placement, token });
  }

  /** Rejects when no process is left that could still join. */
  async allGone(): Promise<never> {
    await Promise.all(this.#children.map((child) => new Promise((resolve) => child.once("exit", resolve))));
    throw new Error("All worker processes have ended; what they said is above.");
  }

  /** Ends the processes; one that hangs is killed. */
  end(): void {
    this.segments.close();
    for (const child of this.#children) endChild(child);
    setTimeout(() => {
      this.#server.close();
      removeParcels(this.#token);
    }, CLOSE_MS);
  }
}

/** Who hears of processes. */
export interface WorkerListener {
  /** Takes a process in that offers to denoise clips. */
  readonly onClipWorker: (port: Port) => void;
  /** A process has ended, by itself or not. */
  readonly onEnd: (worker: string, reason: string) => void;
}

interface Started {
  readonly server: PortServer;
  readonly children: readonly ChildProcess[];
  readonly segments: SegmentPool;
  readonly placement: CardPlacement;
  readonly token: string;
}

interface Devices {
  readonly placement: CardPlacement;
  readonly env: Readonly<Record<string, string>>;
}

/** Workers compute on what this process computes on, on all cards of the kind; on the CPU they share its cores. */
async function findDevices(count: number): Promise<Devices> {
  const threads = cpuThreads();
  if (threads !== undefined) return { placement: UNPINNED, env: cpuEnvironment(threads / count) };
  const gpu = await openHardware();
  if (gpu === undefined) return { placement: UNPINNED, env: await swiftshaderEnvironment() };
  const { vendor } = (await requestAdapter(gpu)).info;
  const cards = vendor === "nvidia" ? listCards() : [];
  return { placement: await placeOnCards(count, { cards }), env: {} };
}

function startChild(
  address: string,
  index: number,
  { placement, env }: { placement: CardPlacement; env: NodeJS.ProcessEnv },
): ChildProcess {
  const [script = ""] = process.argv.slice(1);
  const worker = ["worker", "--join", address, "--name", workerName(index)];
  const card = placement.cards?.[index];
  if (card !== undefined) worker.push("--card", String(card));
  const args = [...process.execArgv, script, ...worker];
  const command = placement.command(index, { file: process.execPath, args, env });
  return spawn(command.file, command.args, { env: command.env, stdio: ["ignore", "ignore", "inherit"] });
}

/** A worker ends by itself when its job does; one that hangs is ended. */
function endChild(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const timeout = setTimeout(() => child.kill("SIGKILL"), END_MS);
  child.once("exit", () => clearTimeout(timeout));
  timeout.unref();
}

const END_MS = 2000;
/** What was sent must be gone before its socket is. */
const CLOSE_MS = 100;
