// Letters that may arrive before or after somebody waits for them; each is taken once.

/** Letters by address. */
export class KeyMailbox<T> {
  readonly #arrived = new Map<string, T>();
  readonly #waiting = new Map<string, { resolve: (letter: T) => void; reject: (reason: unknown) => void }>();
  readonly #taken = new Set<string>();
  #failure: { readonly reason: unknown } | undefined;

  /** Puts a letter in; false when one with this address came before. */
  put(address: string, letter: T): boolean {
    if (this.#arrived.has(address) || this.#taken.has(address)) return false;
    const waiting = this.#waiting.get(address);
    if (waiting === undefined) {
      this.#arrived.set(address, letter);
      return true;
    }
    this.#waiting.delete(address);
    this.#taken.add(address);
    waiting.resolve(letter);
    return true;
  }

  /** Waits for the letter of an address; once for each. */
  async take(address: string): Promise<T> {
    if (this.#failure) throw this.#failure.reason;
    const letter = this.#arrived.get(address);
    if (letter === undefined) {
      return await new Promise((resolve, reject) => this.#waiting.set(address, { resolve, reject }));
    }
    this.#arrived.delete(address);
    this.#taken.add(address);
    return letter;
  }

  /** Fails everybody who waits, now and later. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    this.#arrived.clear();
  }
}
