// Bytes of a message that have not come with it: whoever wants them says where they are to be written.

/** Where bytes are until then. */
export interface DistantSource {
  /** Writes all of them into an array of as many bytes. */
  fetch(target: Uint8Array): Promise<void>;
  /** They are not wanted any more. */
  drop(): void;
}

/** An array of a message that stayed with its sender. */
export class DistantBytes {
  readonly byteLength: number;
  readonly #source: DistantSource;

  constructor(byteLength: number, source: DistantSource) {
    this.byteLength = byteLength;
    this.#source = source;
  }

  /** Writes the bytes into `target`, which has as many; as often as wanted, until `drop`. Rejects when they are damaged. */
  async fetch(target: Uint8Array): Promise<void> {
    if (target.byteLength !== this.byteLength) {
      throw new Error(`${this.byteLength} bytes cannot be fetched into ${target.byteLength}.`);
    }
    await this.#source.fetch(target);
  }

  /** Gives the sender its memory back. */
  drop(): void {
    this.#source.drop();
  }
}
