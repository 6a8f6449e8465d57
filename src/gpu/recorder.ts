// Record, then execute: ops append commands; `submit` sends them to the queue in pieces short enough for a watchdog
// and for Cancel (about 100 ms each). The only place that submits.

import { GpuOutOfMemoryError } from "../errors.ts";
import { wallClock } from "../util/wall_clock.ts";
import type { Gpu } from "./gpu.ts";
import type { BufferRange, Command, DispatchDescriptor } from "./command.ts";
import { encodeCommands, type EncodedCommands, type ReadyCommand } from "./encode_commands.ts";
import { type KernelVariant, kernelVariant } from "./kernel.ts";
import { readMapped } from "./mapped.ts";
import { QueueRoom } from "./queue_room.ts";
import { packParams, UniformArena } from "./uniform_arena.ts";
import { commandsFlops, nextPiece, PieceTimer } from "./work_pieces.ts";

/** Progress of a submission. */
export interface SubmitOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called as commands finish. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Resolves when everything is written that the CPU still writes, see `recordUpload`. @default nothing is waited for */
  readonly ready?: Promise<unknown> | undefined;
}

/** What is recorded runs ahead of the rest when it is at least this share of a piece. */
const AHEAD_SHARE = 0.1;

/** Collects commands in order and the temporaries they need. Ends with `submit` or, when recording fails, `discard`. */
export class Recorder {
  readonly gpu: Gpu;
  readonly label: string;
  #commands: Command[] = [];
  #ahead: { readonly commands: number; readonly computed: Promise<void> }[] = [];
  readonly #temporaries = new Set<GPUBuffer>();
  readonly #held = new Set<GPUBuffer>();
  #beforeQueued: (() => void)[] = [];
  #waiting: Waiting[] = [];

  constructor(gpu: Gpu, label: string) {
    this.gpu = gpu;
    this.label = label;
  }

  /**
   * Appends a kernel launch; compiling starts now. What does not fit the kernel (a missing buffer or parameter, too
   * many workgroups) throws here, with the op on the stack.
   */
  dispatch(descriptor: DispatchDescriptor): void {
    const variant = kernelVariant(descriptor.kernel, descriptor);
    checkWorkgroups(variant.key, descriptor.workgroups);
    checkBuffers(variant, descriptor);
    const params = packParams(variant, descriptor.params);
    for (const { buffer } of Object.values(descriptor.buffers)) this.#hold(buffer);
    this.#commands.push({
      type: "dispatch",
      variant,
      compiled: this.gpu.pipelines.compile(variant),
      descriptor,
      params,
    });
  }

  /** Appends a copy of `source.size` bytes, a multiple of 4. */
  copy(source: BufferRange & { readonly size: number }, target: BufferRange): void {
    this.#hold(source.buffer);
    this.#hold(target.buffer);
    this.#commands.push({ type: "copy", source, target });
  }

  /** A buffer for this recording's commands (`idle`: that the CPU writes, see `acquire`); returned to the pool by `release` or when the recording was submitted. */
  temporary(bytes: number, label: string, options: { idle?: boolean } = {}): GPUBuffer {
    const buffer = this.gpu.memory.acquire(bytes, label, options);
    this.#temporaries.add(buffer);
    return buffer;
  }

  /** Gives a temporary back for the commands recorded after this call. Buffers of others are left alone. */
  release(buffer: GPUBuffer): void {
    if (this.#temporaries.delete(buffer)) this.gpu.memory.release(buffer);
  }

  /** Makes a temporary outlive the recording: the caller must release it to `gpu.memory`. */
  keep(buffer: GPUBuffer): GPUBuffer {
    this.#temporaries.delete(buffer);
    return buffer;
  }

  /** Takes a kept buffer over: this recording may release it, and returns it when it was submitted. */
  adopt(buffer: GPUBuffer): void {
    this.#temporaries.add(buffer);
  }

  /** Runs `work` right before the recording's commands are handed to the queue. */
  beforeQueued(work: () => void): void {
    this.#beforeQueued.push(work);
  }

  /** Resolves when all commands of the recording are on the queue; rejects when it fails before, or is given up. */
  async queued(): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /**
   * Begins with what is recorded so far if that is worth a piece and nothing else is to come before it: recording a large
   * pass takes tens of milliseconds, and the GPU would wait for all of it. To be called between two commands, at best
   * often. What runs is not dropped by `discard` any more; what goes wrong with it is told by `submit`.
   */
  runAhead(): void {
    if (!QueueRoom.of(this.gpu).isFree || TURNS.get(this.gpu)?.isQueued === false) return;
    const { budgetFlops } = PieceTimer.of(this.gpu);
    if (this.#beforeQueued.length > 0 || commandsFlops(this.#commands) < AHEAD_SHARE * budgetFlops) return;
    const work = this.#commands.slice(0, nextPiece(this.#commands, 0, budgetFlops));
    const piece = work.flatMap((command) => this.#readyNow(command));
    if (piece.length < work.length) return; // kernels are being compiled
    const computed = this.#start(piece, this.#encode(piece));
    computed.catch(() => undefined);
    this.#ahead.push({ commands: piece.length, computed });
    this.#commands = this.#commands.slice(piece.length);
  }

  /** Drops everything recorded and returns the temporaries; the recorder is empty and reusable afterwards. */
  discard(): void {
    this.#drop(new Error(`${this.label} was given up.`));
  }

  #drop(reason: unknown): void {
    for (const { reject } of this.#waiting.splice(0)) reject(reason);
    this.#beforeQueued = [];
    this.#commands = [];
    this.#ahead = [];
    for (const buffer of this.#temporaries) this.gpu.memory.release(buffer);
    this.#temporaries.clear();
    for (const buffer of this.#held) this.gpu.memory.unhold(buffer);
    this.#held.clear();
  }

  /**
   * Runs everything recorded and waits for it; the recorder is empty and reusable afterwards, also when this throws.
   * A device's recordings run one after the other, in the order of these calls: a temporary that one of them released
   * may already belong to the next. So recordings that overlap in time must each be recorded and submitted without a
   * pause in between.
   *
   * @throws {DeviceLostError}, {ShaderCompileError}, {GpuOutOfMemoryError}, AbortError between two pieces.
   */
  async submit(options: SubmitOptions = {}): Promise<void> {
    await this.#takeTurn(TURNS.get(this.gpu)?.done, options);
  }

  /**
   * As `submit`, but hands the commands to the queue as soon as those of the recordings before are all there, so that the
   * GPU goes from one to the next without a pause. For recordings that are short and many.
   */
  async enqueue(options: SubmitOptions = {}): Promise<void> {
    await this.#takeTurn(TURNS.get(this.gpu)?.queued, options);
  }

  async #takeTurn(before: Promise<unknown> | undefined, options: SubmitOptions): Promise<void> {
    const queued = settled(this.queued());
    const leave = (): void => void (turn.isQueued = true);
    this.#waiting.push({ resolve: leave, reject: leave });
    const execution = this.#execute(before, options);
    const turn: Turn = { queued, done: settled(execution), isQueued: false };
    TURNS.set(this.gpu, turn);
    await execution;
  }

  async #execute(before: Promise<unknown> | undefined, options: SubmitOptions): Promise<void> {
    const commands = this.#commands;
    let reason: unknown;
    try {
      await before;
      this.gpu.throwIfLost();
      await this.gpu.memory.ready();
      await this.#runPieces(await Promise.all(commands.map(readyCommand)), options);
      this.#tellQueued(); // also of nothing
    } catch (error) {
      reason = error;
      this.gpu.throwIfLost(); // the reason behind any other error
      throw error;
    } finally {
      this.#drop(reason);
    }
  }

  #hold(buffer: GPUBuffer): void {
    if (this.#held.has(buffer)) return;
    this.#held.add(buffer);
    this.gpu.memory.hold(buffer);
  }

  /**
   * Piece after piece: the next one waits on the queue while one is computed, or the GPU would wait for this thread between
   * them. Ends, well or not, when none of them is on the queue any more.
   */
  async #runPieces(
    commands: readonly ReadyCommand[],
    { signal, onProgress, ready }: SubmitOptions,
  ): Promise<void> {
    const [timer, room] = [PieceTimer.of(this.gpu), QueueRoom.of(this.gpu)];
    const ahead = this.#ahead.reduce((sum, piece) => sum + piece.commands, 0);
    const total = ahead + commands.length;
    const pieces = this.#ahead.map(({ computed }) => computed);
    let isGoingWell = true;
    try {
      for (let start = 0; start < commands.length && isGoingWell;) {
        signal?.throwIfAborted();
        const end = nextPiece(this.#commands, start, timer.budgetFlops);
        const piece = commands.slice(start, end);
        const encoded = this.#encode(piece);
        await Promise.all([room.free(), ready]);
        signal?.throwIfAborted();
        const computed = this.#start(piece, encoded, end === commands.length);
        const told = computed.then(() => onProgress?.(ahead + end, total));
        told.catch(() => (isGoingWell = false));
        pieces.push(told);
        start = end;
      }
    } finally {
      await Promise.allSettled(pieces);
    }
    await Promise.all(pieces);
    if (commands.length === 0 && ahead > 0) onProgress?.(total, total);
  }

  #encode(piece: readonly ReadyCommand[]): EncodedPiece {
    const began = wallClock();
    const encoded = this.#scoped(() => encodeCommands(this.gpu, this.label, piece));
    this.gpu.onSpan?.({ name: "encode", start: began, end: wallClock() });
    return encoded;
  }

  /** Hands a piece to the queue, times and counts it; resolves when it is computed. */
  async #start(piece: readonly ReadyCommand[], encoded: EncodedPiece, isLast = false): Promise<void> {
    const work = piece.map(({ command }) => command);
    const computed = PieceTimer.of(this.gpu).measure(work, () => this.#run(encoded, isLast));
    QueueRoom.of(this.gpu).take(computed);
    await computed;
  }

  #readyNow(command: Command): ReadyCommand[] {
    if (command.type === "copy") return [{ command, compiled: undefined }];
    const compiled = this.gpu.pipelines.compiled(command.variant);
    return compiled ? [{ command, compiled }] : [];
  }

  /** Hands a piece to the queue and waits until it is computed. */
  async #run({ result: { commands, times }, failures }: EncodedPiece, isLast: boolean): Promise<void> {
    const { device, profiler } = this.gpu;
    this.gpu.throwIfLost();
    const submitted = this.#scoped(() => {
      for (const work of this.#beforeQueued.splice(0)) work();
      UniformArena.of(this.gpu).flush();
      device.queue.submit([commands]);
    });
    if (isLast) this.#tellQueued();
    await this.gpu.idle();
    const errors = await Promise.all([failures, submitted.failures]);
    for (const error of errors.flat()) if (error !== null) throw this.#errorFrom(error);
    if (times === undefined) return;
    const { staging } = times;
    profiler?.add(times, new BigUint64Array(await readMapped(this.gpu, staging, staging.size)));
  }

  #tellQueued(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  /** What the device finds wrong with some work comes later; a lost device may keep it to itself, which `idle` reports. */
  #scoped<T>(work: () => T): Scoped<T> {
    const { device } = this.gpu;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const pop = (): Promise<(GPUError | null)[]> => {
      const failures = Promise.all([device.popErrorScope(), device.popErrorScope()]);
      failures.catch(() => undefined);
      return failures;
    };
    try {
      const result = work();
      return { result, failures: pop() };
    } catch (error) {
      void pop();
      throw error;
    }
  }

  #errorFrom(error: GPUError): Error {
    const message = `${this.label}: ${error.message}`;
    return error instanceof GPUOutOfMemoryError ? new GpuOutOfMemoryError(message) : new Error(message);
  }
}

/** Somebody who waits until a recording is on the queue. */
interface Waiting {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

interface Scoped<T> {
  readonly result: T;
  readonly failures: Promise<readonly (GPUError | null)[]>;
}

type EncodedPiece = Scoped<EncodedCommands>;

/** A recording's place among those of its device. */
interface Turn {
  /** Resolves when its commands are all on the queue. */
  readonly queued: Promise<unknown>;
  /** Resolves when they are computed. */
  readonly done: Promise<unknown>;
  isQueued: boolean;
}

/** Every device's last turn. */
const TURNS = new WeakMap<Gpu, Turn>();

/** Resolves when a promise is settled, in whatever way. */
async function settled(promise: Promise<unknown>): Promise<unknown> {
  return await promise.catch(() => undefined);
}

async function readyCommand(command: Command): Promise<ReadyCommand> {
  return { command, compiled: command.type === "dispatch" ? await command.compiled : undefined };
}

const MAX_WORKGROUPS = 65_535;

function checkWorkgroups(key: string, workgroups: readonly (number | undefined)[]): void {
  for (const count of workgroups) {
    if (count !== undefined && (!Number.isInteger(count) || count < 1 || count > MAX_WORKGROUPS)) {
      throw new Error(
        `Cannot dispatch ${key} with [${workgroups.join(", ")}] workgroups: each must be 1 to ${MAX_WORKGROUPS}.`,
      );
    }
  }
}

function checkBuffers({ key, reflection }: KernelVariant, { buffers }: DispatchDescriptor): void {
  const names = reflection.bindings.slice(1).map(({ name }) => name);
  for (const name of names) {
    if (buffers[name] === undefined) throw new Error(`${key} needs a buffer for its binding ${name}.`);
  }
  for (const name of Object.keys(buffers)) {
    if (!names.includes(name)) throw new Error(`${key} has no binding ${name}.`);
  }
}
