// The worker processes of one render: started, connected, ended.

import { type ChildProcess, spawn } from "node:child_process";
import { copyThreadsEnvironment } from "../parallel/copy_threads_node.ts";
import type { Port } from "../parallel/port.ts";
import { SegmentPool } from "../parallel/segment_pool.ts";
import { openPortServer, type PortServer, removeParcels } from "../parallel/socket_port_node.ts";
import { openHardware } from "./adapter_node.ts";
import { cpuEnvironment, cpuThreads } from "./engine_option.ts";
import { swiftshaderEnvironment } from "./swiftshader_node.ts";

/** With which ticket a worker comes for which work. */
export const TICKETS = { clips: "worker", segments: "segments" } as const;

/** Variable in which a worker process gets its job's token; arguments could be read by everybody on the machine. */
export const TOKEN_VARIABLE = "WEFT_JOB_TOKEN";

/** Processes of this host that denoise clips and make segments. */
export class WorkerProcesses {
  /** All of them, for the making of segments. */
  readonly segments: SegmentPool;
  readonly #server: PortServer;
  readonly #children: readonly ChildProcess[];
  readonly #token: string;

  private constructor({ server, children, segments, token }: Started) {
    this.#token = token;
    this.segments = segments;
    this.#server = server;
    this.#children = children;
  }

  /**
   * Starts processes.
   *
   * @param token what only the processes of this render know
   * @param onClipWorker takes a process in that offers to denoise clips
   */
  static async start(
    count: number,
    token: string,
    onClipWorker: (port: Port) => void,
  ): Promise<WorkerProcesses> {
    const server = await openPortServer(token);
    const segments = new SegmentPool(token);
    server.acceptAll(TICKETS.clips, onClipWorker);
    server.acceptAll(TICKETS.segments, (port) => segments.add(port));
    const children = await startChildren(server, token, count);
    return new WorkerProcesses({ server, children, segments, token });
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

interface Started {
  readonly server: PortServer;
  readonly children: readonly ChildProcess[];
  readonly segments: SegmentPool;
  readonly token: string;
}

async function startChildren(server: PortServer, token: string, count: number): Promise<ChildProcess[]> {
  const env = {
    ...process.env,
    ...copyThreadsEnvironment(count),
    ...(await workerEnvironment(count)),
    [TOKEN_VARIABLE]: token,
  };
  const [script = ""] = process.argv.slice(1);
  const children = Array.from({ length: count }, (_, index) => {
    const args = ["worker", "--join", server.address, "--name", `worker ${index + 1}`];
    return spawn(process.execPath, [...process.execArgv, script, ...args], {
      // Read by a driver that shows one of several cards (tests/bench/vulkan_filter.c); nobody else knows it.
      env: { ...env, WEFT_GPU_INDEX: String(index) },
      stdio: ["ignore", "ignore", "inherit"],
    });
  });
  process.once("exit", () => {
    for (const child of children) child.kill("SIGKILL");
    removeParcels(token);
  });
  return children;
}

/** Workers compute on what this process computes on; on the CPU they share its cores. */
async function workerEnvironment(count: number): Promise<Record<string, string>> {
  const threads = cpuThreads();
  if (threads !== undefined) return cpuEnvironment(threads / count);
  return (await openHardware()) === undefined ? await swiftshaderEnvironment() : {};
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
