// Connections between the workers of a job, made by its coordinator: every two get one of their own.

import type { Transferred } from "./port.ts";

/**
 * Connects two workers: what each gets as its port, and what has to be moved with it.
 *
 * @param one address of the one, where it has one
 * @param ticket names this connection and no other
 */
export type Connect = (
  one: string | undefined,
  other: string | undefined,
  ticket: string,
) => readonly [Carried, Carried];

/** A port on its way to a worker. */
export interface Carried {
  readonly port: unknown;
  readonly transfer: readonly Transferred[];
}

/** Connects threads. */
export function messageChannel(): readonly [Carried, Carried] {
  const { port1, port2 } = new MessageChannel();
  return [
    { port: port1, transfer: [port1] },
    { port: port2, transfer: [port2] },
  ];
}

/** Whoever can be connected. */
export interface Connectable {
  readonly address: string | undefined;
  /** Gives it a port to the other with the number `peer`. */
  meet(peer: number, carried: Carried): void;
}

/** Gives every two of `all`, numbered in that order, a connection of their own; tickets begin with `epoch`. */
export function connectAll(all: readonly Connectable[], epoch: number, connect: Connect): void {
  for (const [a, one] of all.entries()) {
    for (const [b, other] of all.entries()) {
      if (b <= a) continue;
      const [ofOne, ofOther] = connect(one.address, other.address, `${epoch} ${a} ${b}`);
      one.meet(b, ofOne);
      other.meet(a, ofOther);
    }
  }
}
