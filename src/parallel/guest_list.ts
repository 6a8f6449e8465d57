// Who may compute for this tab: other tabs of the same origin that it has opened, which know its invitation, and those
// that somebody lets in. Each job has a token of its own, which guests get together with their ports, and nobody else.

import * as v from "valibot";
import { type GuestMessage, guestSchema, type HostMessage } from "./tab_protocol.ts";
import { type Locks, whenUnlocked } from "./web_lock.ts";

/** A worker of another tab, on its way into a job. */
export interface GuestWorker {
  /** For people. */
  readonly name: string;
  /** The Web Lock that says whether it lives. */
  readonly lock: string;
  readonly clips: MessagePort;
  readonly segments: MessagePort;
}

/** A job that guests help with. */
export interface GuestJob {
  readonly token: string;
  readonly prompt: string;
  /** Called for every guest there is, and for every one that comes later. */
  readonly onWorker: (worker: GuestWorker) => void;
}

/** Somebody without an invitation. */
export interface Asking {
  readonly id: number;
}

/** How guests are received. */
export interface GuestListOptions {
  /** What tabs that this one opens have in their address. */
  readonly invitation: string;
  /** Guests, or those who ask, have come or gone. */
  readonly onChange?: (() => void) | undefined;
  /** @default the origin's */
  readonly locks?: Locks | undefined;
}

interface Guest {
  readonly port: MessagePort;
  readonly lock: string;
  readonly name: string;
}

/** The guests of a tab. */
export class GuestList {
  readonly #options: GuestListOptions;
  readonly #guests = new Set<Guest>();
  readonly #asking = new Map<number, Pick<Guest, "port" | "lock">>();
  #job: GuestJob | undefined;
  #count = 0;
  #numAsked = 0;

  constructor(options: GuestListOptions) {
    this.#options = options;
  }

  /** Guests that are there now. */
  get names(): readonly string[] {
    return [...this.#guests].map(({ name }) => name);
  }

  /** Those who wait for an answer. */
  get asking(): readonly Asking[] {
    return [...this.#asking.keys()].map((id) => ({ id }));
  }

  /** Takes a port at whose other end somebody wants to help. */
  receive(port: MessagePort): void {
    const greet = ({ data }: MessageEvent): void => {
      const greeting = v.safeParse(guestSchema, data);
      if (!greeting.success) return;
      port.removeEventListener("message", greet); // the rest is our turn
      this.#greet(port, greeting.output);
    };
    port.addEventListener("message", greet);
    port.start();
  }

  /** Lets somebody in who has asked, or sends them away. */
  answer(id: number, isWelcome: boolean): void {
    const asking = this.#asking.get(id);
    if (asking === undefined) return;
    this.#asking.delete(id);
    if (isWelcome) this.#admit(asking);
    else refuse(asking.port, "The other tab does not want help just now.");
    this.#options.onChange?.();
  }

  /** A job begins; `end` ends it. */
  begin(job: GuestJob): void {
    this.#job = job;
    for (const guest of this.#guests) invite(guest, job);
  }

  /** The job has ended, which guests hear: whoever ran it may not have been able to say so. */
  end(): void {
    this.#job = undefined;
    for (const { port } of this.#guests) say(port, { type: "over" });
  }

  #greet(port: MessagePort, { invitation, lock }: GuestMessage): void {
    if (invitation === undefined) {
      const id = this.#numAsked++;
      this.#asking.set(id, { port, lock });
      say(port, { type: "asked" });
      this.#whenGone(lock, () => this.#asking.delete(id));
    } else if (invitation === this.#options.invitation) {
      this.#admit({ port, lock });
    } else {
      return refuse(port, "The invitation is not, or not any more, the one of that tab.");
    }
    this.#options.onChange?.();
  }

  #admit({ port, lock }: Pick<Guest, "port" | "lock">): void {
    const guest: Guest = { port, lock, name: `tab ${++this.#count}` };
    this.#guests.add(guest);
    say(port, { type: "admitted", name: guest.name });
    if (this.#job) invite(guest, this.#job);
    this.#whenGone(lock, () => this.#guests.delete(guest));
  }

  #whenGone(lock: string, forget: () => boolean): void {
    const { locks, onChange } = this.#options;
    const never = new AbortController().signal;
    void whenUnlocked(lock, { signal: never, locks }).then(() => {
      if (forget()) onChange?.();
    });
  }
}

function invite({ port, lock, name }: Guest, { token, prompt, onWorker }: GuestJob): void {
  const [clips, segments] = [new MessageChannel(), new MessageChannel()];
  say(port, { type: "job", token, prompt }, [clips.port1, segments.port1]);
  onWorker({ name, lock, clips: clips.port2, segments: segments.port2 });
}

function refuse(port: MessagePort, reason: string): void {
  say(port, { type: "refused", reason });
}

function say(port: MessagePort, message: HostMessage, transfer: Transferable[] = []): void {
  port.postMessage(message, transfer);
}
