// Where workers wait for the render they are meant for, which may begin a little later than they come.

import type { CrewWorker } from "./render_crew.ts";

/** Whoever takes workers in. */
export interface Host {
  add(worker: CrewWorker): void;
}

/** Brings the workers of one render after the other to it; those of any other are sent away. */
export class CrewLobby {
  readonly #early: CrewWorker[] = [];
  #open: { readonly token: string; readonly host: Host } | undefined;

  /** The render with this token takes workers in from now on. */
  open(token: string, host: Host): void {
    this.#open = { token, host };
    for (const worker of this.#early.splice(0)) this.add(worker);
  }

  /** The render has ended. */
  close(): void {
    this.#open = undefined;
  }

  /** Takes a worker to its render, at once or when it begins. */
  add(worker: CrewWorker): void {
    if (this.#open === undefined) this.#early.push(worker);
    else if (worker.token === this.#open.token) this.#open.host.add(worker);
    else for (const port of [worker.clips, worker.segments]) port.close();
  }
}
