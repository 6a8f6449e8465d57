// How often Dawn asks the graphics driver for news. While anything is awaited, its Node binding asks in every turn of the event
// loop, each time with a new native function (crbug.com/dawn/1127): a hundred thousand a second, which survive all small
// garbage collections, and the large ones that free them stop the thread for 20 to 40 ms each. Workers of one video then wait
// for each other's collections.

/** Between two questions, in milliseconds: little beside what the GPU is waited for, and dozens of turns of the event loop. */
const PAUSE_MS = 0.03;

/** Runs callbacks in a later turn of the event loop, at most one bunch in `pauseMs`. */
export class Pacer {
  readonly #immediate: (callback: () => void) => unknown;
  readonly #pauseMs: number;
  readonly #clock: () => number;
  #waiting: (() => void)[] = [];
  #due = -Infinity;

  /** @param immediate runs a callback in the next turn */
  constructor(immediate: (callback: () => void) => unknown, pauseMs: number, clock: () => number) {
    this.#immediate = immediate;
    this.#pauseMs = pauseMs;
    this.#clock = clock;
  }

  /** Runs a callback when its time has come. */
  run(callback: () => void): void {
    this.#waiting.push(callback);
    if (this.#waiting.length === 1) this.#immediate(this.#turn);
  }

  readonly #turn = (): void => {
    if (this.#clock() < this.#due) {
      this.#immediate(this.#turn);
      return;
    }
    const callbacks = this.#waiting;
    this.#waiting = [];
    for (const callback of callbacks) callback();
    this.#due = this.#clock() + this.#pauseMs;
  };
}

let isPaced = false;

/**
 * Makes Dawn pause between its questions, in this thread, from now on. Dawn takes `setImmediate` from globalThis each time, so
 * that is where it is slowed down: nobody else gives native functions without name and parameters to it.
 */
export function pacePolling(): void {
  if (isPaced) return;
  isPaced = true;
  const immediate = globalThis.setImmediate;
  const pacer = new Pacer(immediate, PAUSE_MS, () => performance.now());
  globalThis.setImmediate = new Proxy(immediate, {
    apply(target, self, args: Parameters<typeof immediate>) {
      const [callback] = args;
      return args.length === 1 && isNative(callback)
        ? pacer.run(callback)
        : Reflect.apply(target, self, args);
    },
  });
}

/** Whether a function is of a native addon, rather than JavaScript's or, as those that resolve promises, the engine's. */
function isNative(callback: unknown): callback is () => void {
  if (typeof callback !== "function" || callback.name !== "" || callback.length > 0) return false;
  return Function.prototype.toString.call(callback).endsWith("{ [native code] }");
}
