// Which tabs of this origin make videos: each says so on a BroadcastChannel when it begins, when it gets on, and when
// somebody asks. That it is there no more its Web Lock tells, also after a crash.

import * as v from "valibot";
import { type JobNotice, type PresenceMessage, presenceSchema } from "./tab_protocol.ts";
import { isLocked, type Locks, tabLock, whenUnlocked } from "./web_lock.ts";

/** A tab that makes videos. */
export interface PresentTab {
  readonly tab: string;
  /** What it makes just now. */
  readonly job: JobNotice | undefined;
}

/** The part of a BroadcastChannel that is needed. */
export type Channel = Pick<
  BroadcastChannel,
  "postMessage" | "addEventListener" | "removeEventListener" | "close"
>;

/** How a tab takes part. */
export interface PresenceOptions {
  /** This tab, when it makes videos itself. */
  readonly own?: string | undefined;
  /** The other tabs that make videos have changed. */
  readonly onChange?: ((tabs: readonly PresentTab[]) => void) | undefined;
  /** @default the origin's */
  readonly channel?: Channel | undefined;
  readonly locks?: Locks | undefined;
}

const CHANNEL = "weft";

/** A tab's part in the channel, until `close`. */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #channel: Channel;
  readonly #tabs = new Map<string, PresentTab>();
  readonly #closed = new AbortController();
  #job: JobNotice | undefined;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#channel = options.channel ?? new BroadcastChannel(CHANNEL);
    this.#channel.addEventListener("message", this.#hear);
    this.ask();
    this.#sayHere();
  }

  /** Tells what this tab makes now. */
  announce(job: JobNotice | undefined): void {
    this.#job = job;
    this.#sayHere();
  }

  /** Asks who is here; the others answer with `onChange`. */
  ask(): void {
    this.#post({ type: "who" });
  }

  /** Takes part no more. */
  close(): void {
    this.#closed.abort();
    this.#channel.removeEventListener("message", this.#hear);
    this.#channel.close();
  }

  readonly #hear = ({ data }: { readonly data: unknown }): void => {
    const parsed = v.safeParse(presenceSchema, data);
    if (!parsed.success) return; // somebody else's business on this origin
    if (parsed.output.type === "who") this.#sayHere();
    else this.#note(parsed.output);
  };

  #note({ tab, job }: PresenceMessage & { type: "here" }): void {
    const isNew = !this.#tabs.has(tab);
    this.#tabs.set(tab, { tab, job });
    this.#options.onChange?.([...this.#tabs.values()]);
    if (isNew) this.#watch(tab).catch(() => undefined); // closed
  }

  async #watch(tab: string): Promise<void> {
    const { locks } = this.#options;
    do {
      await whenUnlocked(tabLock(tab), { signal: this.#closed.signal, locks });
    } while (await isLocked(tabLock(tab), locks)); // it was reloaded
    this.#tabs.delete(tab);
    this.#options.onChange?.([...this.#tabs.values()]);
  }

  #sayHere(): void {
    const { own } = this.#options;
    if (own !== undefined) this.#post({ type: "here", tab: own, job: this.#job });
  }

  #post(message: PresenceMessage): void {
    this.#channel.postMessage(message);
  }
}
