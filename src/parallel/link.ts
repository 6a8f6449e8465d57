// A connection that trusts nobody: every message carries the job's token and a number. What belongs to another job or
// does not have the agreed form is refused, what comes twice is dropped, what comes too early waits for what is missing.

import * as v from "valibot";
import type { Port, Transferred } from "./port.ts";

/** What a link does with what it gets. */
export interface LinkListener<T> {
  readonly onMessage: (message: T) => void;
  readonly onClose: () => void;
  /** Something came that must not; it was dropped. */
  readonly onRefused?: ((reason: string) => void) | undefined;
}

/** How a link is made. */
export interface LinkOptions<T> {
  readonly token: string;
  /** Form of the messages that come. */
  readonly schema: v.GenericSchema<unknown, T>;
  /** As `PortListener.takesDistant`. @default false */
  readonly takesDistant?: boolean | undefined;
}

/** Messages that may wait for a missing one; more, and it is not coming. */
const MAX_EARLY = 256;

/** One end of a connection between parties of one job. */
export class Link<Sent, Received> {
  readonly #port: Port;
  readonly #token: string;
  readonly #schema: v.GenericSchema<unknown, Received>;
  readonly #takesDistant: boolean;
  readonly #early = new Map<number, Received>();
  #sent = 0;
  #expected = 0;
  #isClosed = false;

  constructor(port: Port, { token, schema, takesDistant = false }: LinkOptions<Received>) {
    this.#port = port;
    this.#takesDistant = takesDistant;
    this.#token = token;
    this.#schema = schema;
  }

  /** Sends a message; buffers are moved where possible. See `Port.post`. */
  send(message: Sent, transfer?: readonly Transferred[], onFree?: () => void): void {
    if (this.#isClosed) onFree?.();
    else this.#port.post({ token: this.#token, number: this.#sent++, message }, transfer, onFree);
  }

  /** Takes messages from now on. */
  listen(listener: LinkListener<Received>): void {
    this.#port.listen({
      takesDistant: this.#takesDistant,
      onMessage: (message) => {
        if (!this.#isClosed) this.#receive(message, listener);
      },
      onClose: () => {
        if (!this.#isClosed) listener.onClose();
      },
    });
  }

  /** Ends the connection; nothing is sent or taken any more. */
  close(): void {
    this.#isClosed = true;
    this.#early.clear();
    this.#port.close();
  }

  #receive(raw: unknown, listener: LinkListener<Received>): void {
    const refuse = (reason: string): void => listener.onRefused?.(reason);
    const envelope = v.safeParse(ENVELOPE, raw);
    if (!envelope.success) return refuse("A message has no token or number.");
    const { token, number, message } = envelope.output;
    if (token !== this.#token) return refuse("A message belongs to another job.");
    if (number < this.#expected || this.#early.has(number)) return refuse(`Message ${number} came twice.`);
    const parsed = v.safeParse(this.#schema, message);
    if (!parsed.success) {
      const path = v.getDotPath(parsed.issues[0]) ?? "the message";
      return refuse(`Message ${number} is malformed at ${path}: ${parsed.issues[0].message}`);
    }
    if (this.#early.size >= MAX_EARLY) {
      return refuse(`Message ${this.#expected} is missing; ${MAX_EARLY} later ones have come.`);
    }
    this.#early.set(number, parsed.output);
    for (let next = this.#take(); next !== undefined; next = this.#take()) listener.onMessage(next);
  }

  #take(): Received | undefined {
    if (this.#isClosed) return undefined;
    const next = this.#early.get(this.#expected);
    if (next === undefined) return undefined;
    this.#early.delete(this.#expected++);
    return next;
  }
}

const ENVELOPE = v.object({
  token: v.string(),
  number: v.pipe(v.number(), v.integer(), v.minValue(0)),
  message: v.unknown(),
});
