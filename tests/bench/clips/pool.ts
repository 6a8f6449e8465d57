// Worker processes of the bench of clips, a card each.
import { type ChildProcess, spawn } from "node:child_process";
import { copyThreadsEnvironment } from "../../../src/parallel/copy_threads_node.ts";
import type { Coordinator } from "../../../src/parallel/coordinator.ts";
import type { Port } from "../../../src/parallel/port.ts";
import { openPortServer, type PortServer, removeParcels } from "../../../src/parallel/socket_port_node.ts";
import { cardMemory, type Pin, pinned } from "./pins.ts";
import { TOKEN } from "./worker.ts";

/** Memory that a card has taken when a worker's weights are on it, MiB. */
const LOADED_MIB = 500;

/** Processes that take one job after the other. */
export class ClipsPool {
  readonly #server: PortServer;
  readonly #children: readonly ChildProcess[];
  readonly #waiting: Port[] = [];
  readonly #before = cardMemory();
  readonly #failed: Promise<never>;
  #current: Coordinator | undefined;
  #isClosed = false;

  private constructor(server: PortServer, count: number, pin: Pin) {
    this.#server = server;
    server.acceptAll("worker", (port) =>
      this.#current ? this.#current.add(port) : this.#waiting.push(port),
    );
    this.#children = Array.from({ length: count }, (_, index) => {
      const script = [process.argv[1] ?? "", "clip-worker", server.address, String(index)];
      const { file, args, env } = pinned(pin, index, script);
      return spawn(file, args, {
        env: { ...env, ...copyThreadsEnvironment(count) },
        stdio: ["ignore", "inherit", "inherit"],
      });
    });
    this.#failed = new Promise((_resolve, reject) => {
      for (const [index, child] of this.#children.entries()) {
        child.once("error", (error) => reject(new Error(`Worker ${index} did not start: ${error.message}`)));
        child.once("exit", (code, signal) => {
          if (!this.#isClosed)
            reject(new Error(`Worker ${index} ended with ${code ?? signal}; its words are above.`));
        });
      }
    });
    this.#failed.catch(() => undefined);
    process.once("exit", () => this.close());
  }

  /** Starts processes. */
  static async start(count: number, pin: Pin): Promise<ClipsPool> {
    return new ClipsPool(await openPortServer(TOKEN), count, pin);
  }

  /** Runs a coordinator on all workers; rejects when one of them ends. */
  async run<T>(coordinator: Coordinator, work: (coordinator: Coordinator) => Promise<T>): Promise<T> {
    this.#current = coordinator;
    for (const port of this.#waiting.splice(0)) coordinator.add(port);
    const result = await Promise.race([work(coordinator), this.#failed]);
    this.#current = undefined;
    return result;
  }

  /** Cards that the workers' weights are on, such as "0: +3120 MiB, 1: +3118 MiB"; "" where nobody can say. */
  cardsUsed(): string {
    const grown = cardMemory().map((used, card) => ({ card, more: used - (this.#before[card] ?? 0) }));
    return grown
      .filter(({ more }) => more > LOADED_MIB)
      .map(({ card, more }) => `${card}: +${more} MiB`)
      .join(", ");
  }

  /** Ends all processes. */
  close(): void {
    this.#isClosed = true;
    for (const child of this.#children) child.kill("SIGKILL");
    this.#server.close();
    removeParcels(TOKEN);
  }
}
