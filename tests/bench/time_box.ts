// The time that a program may take. Lent machines end programs without asking: one that stops by itself has written
// what it found.

/** Seconds since the process began against those it was given. */
export class TimeBox {
  readonly #seconds: number;

  /** @param seconds from the start of the process on; Infinity for no limit */
  constructor(seconds: number) {
    if (Number.isNaN(seconds) || seconds <= 0)
      throw new Error(`The seconds must be a number above 0, not ${seconds}.`);
    this.#seconds = seconds;
  }

  /** Seconds until the end; negative afterwards. */
  get left(): number {
    return this.#seconds - performance.now() / 1000;
  }

  /** Whether something that takes `seconds` would still end in time. */
  fits(seconds: number): boolean {
    return seconds < this.left;
  }
}
