// Buffers through which numbers pass between GPU and CPU, used again and again: to make one, the driver takes and pins
// fresh pages, which can cost more than the copy itself.

/** "read": GPU to CPU, handed out unmapped. "write": CPU to GPU, handed out mapped. */
export type StagingDirection = "read" | "write";

/** What waits for reuse is at most this much for each direction; more is destroyed, the oldest first. */
const MAX_IDLE_BYTES = 2 ** 29;
/** A buffer may be this many times larger than what is asked for. */
const MAX_SLACK = 2;

/** A device's staging buffers. */
export class StagingPool {
  readonly #device: GPUDevice;
  /** The most recently used last. */
  readonly #idle: Record<StagingDirection, GPUBuffer[]> = { read: [], write: [] };
  #isDisposed = false;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** A buffer of at least `bytes`; give it back with `release`, or destroy it. */
  acquire(direction: StagingDirection, bytes: number): GPUBuffer {
    const idle = this.#idle[direction];
    const wanted = Math.ceil(bytes / GRANULE_BYTES) * GRANULE_BYTES;
    const fits = idle.filter(({ size }) => size >= wanted && size <= MAX_SLACK * wanted);
    const smallest = fits.reduce<GPUBuffer | undefined>((a, b) => (a && a.size <= b.size ? a : b), undefined);
    if (smallest === undefined) return this.#create(direction, wanted);
    idle.splice(idle.indexOf(smallest), 1);
    return smallest;
  }

  /** Takes a buffer back: unmapped one for reading, mapped one for writing. */
  release(direction: StagingDirection, buffer: GPUBuffer): void {
    if (this.#isDisposed) return buffer.destroy();
    const idle = this.#idle[direction];
    idle.push(buffer);
    let bytes = idle.reduce((sum, { size }) => sum + size, 0);
    while (bytes > MAX_IDLE_BYTES) {
      const oldest = idle.shift();
      bytes -= oldest?.size ?? bytes;
      oldest?.destroy();
    }
  }

  /** Destroys what waits for reuse; what is given back later is destroyed then. */
  dispose(): void {
    this.#isDisposed = true;
    for (const idle of Object.values(this.#idle)) for (const buffer of idle.splice(0)) buffer.destroy();
  }

  #create(direction: StagingDirection, size: number): GPUBuffer {
    const label = `staging ${direction}`;
    return direction === "read"
      ? this.#device.createBuffer({ label, size, usage: 0x01 | 0x08 }) // MAP_READ | COPY_DST
      : this.#device.createBuffer({ label, size, usage: 0x02 | 0x04, mappedAtCreation: true }); // MAP_WRITE | COPY_SRC
  }
}

/** Near-equal sizes share buffers. */
const GRANULE_BYTES = 2 ** 16;
