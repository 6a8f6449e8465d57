// A worker's side of the context exchange: routes its clip's rows to those that need them, and keeps what arrives until
// the transformer asks for it. What has to come from whom is known beforehand, so anything else is refused. How messages
// travel is the transports' business.

import { layerRules, layerStrengths } from "../attention/layer_rules.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { ContextExchange, FrameKeys, Visit, VisitResult } from "../dit/context_exchange.ts";
import { type ExchangeMode, exchangePlan, type Partition, type Transfer } from "./exchange_plan.ts";
import {
  addStatistics,
  type Delivery,
  deliveryTimes,
  type ExchangeStatistics,
  NO_EXCHANGE,
} from "./exchange_statistics.ts";
import {
  decodeKeys,
  encodeKeys,
  type KeyType,
  partBytes,
  type PayloadType,
  type RowsKind,
  travelType,
} from "./key_codec.ts";
import { KeyMailbox } from "./key_mailbox.ts";
import { rowsAddress, type RowsMessage } from "./rows_message.ts";
import { type LayerPass, sendsKeys, type StaleKeys, usesStale } from "./stale_keys.ts";
import { wallClock } from "./wall_clock.ts";

/** The video, its clips and how they talk. */
export interface ClipExchangeOptions {
  readonly epoch: number;
  readonly partition: Partition;
  /** Number of the own clip. */
  readonly clip: number;
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly headDim: number;
  /** Element type of keys and values in the own GPU memory. */
  readonly keyType: KeyType;
  readonly payload: PayloadType;
  /** @default "keys" */
  readonly mode?: ExchangeMode | undefined;
  /** Only keys may travel then. @default every step uses its own keys */
  readonly stale?: StaleKeys | undefined;
  /** The step that this division begins with. @default 0 */
  readonly firstStep?: number | undefined;
  /** Hands a message to the transport. */
  readonly send: (toClip: number, message: RowsMessage) => void;
}

/** One forward pass. */
export interface PassMoment {
  readonly step: number;
  readonly pass: string;
  /** 0 to 1000. */
  readonly timestep: number;
  readonly plan: AttentionPlan;
}

interface LayerMoment extends PassMoment {
  readonly layer: number;
}

type Letter = RowsMessage & Delivery;

/** The exchange of one clip for one division of the video. */
export class ClipExchange {
  readonly #options: ClipExchangeOptions;
  readonly #mailbox = new KeyMailbox<Letter>();
  readonly #transfers = new Map<string, readonly Transfer[]>();
  /** Keys that the next step uses once more. */
  readonly #kept = new Map<string, Letter>();
  #waitingFor: readonly number[] = [];
  #progress = 0;
  #statistics = NO_EXCHANGE;

  constructor(options: ClipExchangeOptions) {
    this.#options = options;
  }

  /** What has been done so far. */
  get statistics(): ExchangeStatistics {
    return this.#statistics;
  }

  /** Grows with every layer. */
  get progress(): number {
    return this.#progress;
  }

  /** Clips whose rows the transformer waits for now. */
  get waitingFor(): readonly number[] {
    return this.#waitingFor;
  }

  /** The exchange of a forward pass. */
  forPass(pass: PassMoment): ContextExchange {
    const at = (layer: number): LayerMoment => ({ ...pass, layer });
    return {
      sends: (layer) => {
        this.#progress++;
        const { stale } = this.#options;
        return sendsKeys(stale, this.#layerPass(at(layer))) ? unionOf(this.#outgoing("keys", at(layer))) : [];
      },
      needs: (layer) => unionOf(this.#incoming("keys", at(layer))),
      visits: (layer) => this.#visits("queries", at(layer)),
      guests: (layer) => this.#visits("results", at(layer)),
      publish: (layer, keys) => {
        for (const transfer of this.#outgoing("keys", at(layer))) {
          const { k, v } = framesOf(keys, transfer.frames);
          this.#send(transfer, at(layer), [k, v]);
        }
      },
      sendQueries: (layer, visit, q) => this.#sendVisit("queries", visit, { moment: at(layer), parts: [q] }),
      sendResult: (layer, guest, { out, lse }) =>
        this.#sendVisit("results", guest, { moment: at(layer), parts: [out, lse] }),
      collect: async (layer, computed): Promise<FrameKeys[]> => {
        const letters = await this.#collect("keys", at(layer), computed);
        return letters.map((letter) => ({ frames: letter.frames, ...namedKeys(this.#decode(letter)) }));
      },
      collectQueries: async (layer, computed): Promise<Uint8Array[]> => {
        const letters = await this.#collect("queries", at(layer), computed);
        return letters.flatMap((letter) => this.#decode(letter));
      },
      collectResults: async (layer, computed): Promise<VisitResult[]> => {
        const letters = await this.#collect("results", at(layer), computed);
        return letters.map((letter) => namedResult(this.#decode(letter)));
      },
    };
  }

  /**
   * Takes a message that the transport brings.
   *
   * @throws Error for one that is of another time, or not what this clip was to be sent
   */
  receive(fromClip: number, message: RowsMessage): void {
    const { epoch, tokensPerFrame, heads, headDim } = this.#options;
    const { kind, frames, parts, payload, layer } = message;
    if (message.epoch !== epoch) {
      throw new Error(`Rows of epoch ${message.epoch} came in epoch ${epoch}.`);
    }
    const size = { rows: frames.length * tokensPerFrame, heads, headDim };
    const wanted = partBytes(kind, size, payload).join(" + ");
    const found = parts.map(({ byteLength }) => byteLength).join(" + ");
    if (found !== wanted) {
      throw new Error(
        `The ${kind} of layer ${layer} for frames ${frames.join(", ")} came with ${found} bytes, not ${wanted}.`,
      );
    }
    const letter = { ...message, arrivedAt: wallClock() };
    if (!this.#mailbox.put(rowsAddress(message, fromClip), letter)) {
      throw new Error(`The ${kind} of layer ${layer} from clip ${fromClip} came twice.`);
    }
  }

  /** Fails whoever waits now or later: a peer is gone, or the work is cancelled. */
  fail(reason: unknown): void {
    this.#mailbox.fail(reason);
  }

  async #collect(kind: RowsKind, moment: LayerMoment, computed: Promise<void>): Promise<Letter[]> {
    const wanted = this.#incoming(kind, moment);
    if (wanted.length === 0) return [];
    let idleFrom = Infinity;
    computed.then(() => (idleFrom = wallClock())).catch(() => undefined);
    this.#waitingFor = wanted.map(({ from }) => from);
    const missing = new Set(this.#waitingFor);
    const take = async ({ from, frames }: Transfer): Promise<Letter> => {
      const letter = await this.#take(kind, moment, from);
      missing.delete(from);
      this.#waitingFor = [...missing];
      if (frames.join() !== letter.frames.join()) {
        throw new Error(
          `Clip ${from} sent ${kind} of frames ${letter.frames.join(", ")} of layer ${moment.layer}, ` +
            `not ${frames.join(", ")}.`,
        );
      }
      return letter;
    };
    const letters = await Promise.all(wanted.map(take));
    this.#progress++;
    const bytesReceived = letters.reduce((sum, { parts }) => sum + bytesOf(parts), 0);
    this.#add({ ...deliveryTimes(letters, idleFrom), bytesReceived });
    return letters;
  }

  /** The letter that a layer uses, which may be the one of the step before. */
  async #take(kind: RowsKind, moment: LayerMoment, from: number): Promise<Letter> {
    const { stale } = this.#options;
    const layer = this.#layerPass(moment);
    const isStale = usesStale(stale, layer);
    const step = isStale ? moment.step - 1 : moment.step;
    const address = rowsAddress({ kind, ...moment, step }, from);
    const letter = this.#kept.get(address) ?? (await this.#mailbox.take(address));
    this.#kept.delete(address);
    if (!isStale && usesStale(stale, { ...layer, step: step + 1 })) this.#kept.set(address, letter);
    return letter;
  }

  #layerPass(moment: LayerMoment): LayerPass {
    const { firstStep = 0 } = this.#options;
    const { pass, step } = moment;
    return { pass, step, firstStep, transfersAt: (other) => this.#transfersOf({ ...moment, step: other }) };
  }

  /** The own queries that leave ("queries"), or others' that are answered here ("results"). */
  #visits(kind: "queries" | "results", moment: LayerMoment): Visit[] {
    const { partition, clip } = this.#options;
    return this.#outgoing(kind, moment).map(({ to, frames }) => {
      const keys = partition[kind === "queries" ? to : clip] ?? { start: 0, end: 0 };
      return { clip: to, queries: frames, keys };
    });
  }

  #sendVisit(
    kind: "queries" | "results",
    { clip, queries }: Visit,
    { moment, parts }: { moment: LayerMoment; parts: readonly Uint8Array[] },
  ): void {
    this.#send({ kind, from: this.#options.clip, to: clip, frames: queries }, moment, parts);
  }

  #send({ kind, to, frames }: Transfer, moment: LayerMoment, rows: readonly Uint8Array[]): void {
    const { epoch, keyType: from, payload, headDim, send } = this.#options;
    const { step, pass, layer } = moment;
    const sentAt = wallClock();
    // What comes back beside results are log-sum-exps, which stay as they are.
    const parts = rows.map((part, index) =>
      kind === "results" && index > 0 ? part : encodeKeys(part, { from, payload, headDim }),
    ) as Uint8Array<ArrayBuffer>[];
    this.#add({ bytesSent: bytesOf(parts) });
    const common = { type: "rows", kind, epoch, step, pass, layer, frames } as const;
    send(to, { ...common, payload: travelType(from, payload), parts, sentAt });
  }

  #decode({ kind, parts, payload }: RowsMessage): Uint8Array[] {
    const { keyType: to, headDim } = this.#options;
    return parts.map((part, index) =>
      kind === "results" && index > 0 ? part : decodeKeys(part, { payload, to, headDim }),
    );
  }

  #outgoing(kind: RowsKind, moment: LayerMoment): Transfer[] {
    const { clip } = this.#options;
    return this.#transfersOf(moment).filter((transfer) => transfer.kind === kind && transfer.from === clip);
  }

  #incoming(kind: RowsKind, moment: LayerMoment): Transfer[] {
    const { clip } = this.#options;
    return this.#transfersOf(moment).filter((transfer) => transfer.kind === kind && transfer.to === clip);
  }

  #transfersOf({ plan, step, timestep, layer }: LayerMoment): readonly Transfer[] {
    const { partition, heads, tokensPerFrame, mode } = this.#options;
    const numFrames = partition.at(-1)?.end ?? 0;
    const { key } = layerRules(plan, { layer, step, timestep }, { numFrames, heads });
    const address = `${key}\n${layerStrengths(plan, layer, heads)?.join() ?? ""}`;
    let transfers = this.#transfers.get(address);
    if (transfers === undefined) {
      transfers = exchangePlan(plan, partition, { tokensPerFrame, heads, layer, step, timestep }, mode);
      this.#transfers.set(address, transfers);
    }
    return transfers;
  }

  #add(more: Partial<ExchangeStatistics>): void {
    this.#statistics = addStatistics([this.#statistics, more]);
  }
}

function unionOf(transfers: readonly Transfer[]): number[] {
  return [...new Set(transfers.flatMap(({ frames }) => frames))].sort((a, b) => a - b);
}

/** Some frames of more; without a copy where they follow each other. */
function framesOf({ frames: all, k, v }: FrameKeys, frames: readonly number[]): Pick<FrameKeys, "k" | "v"> {
  const perFrame = k.byteLength / all.length;
  const first = all.indexOf(frames[0] ?? -1);
  const isRun = frames.every((frame, i) => all[first + i] === frame);
  const take = (bytes: Uint8Array): Uint8Array =>
    isRun
      ? bytes.subarray(first * perFrame, (first + frames.length) * perFrame)
      : joined(frames.map((frame) => bytes.subarray(all.indexOf(frame) * perFrame).subarray(0, perFrame)));
  return { k: take(k), v: take(v) };
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bytesOf(parts));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function namedKeys([k = NOTHING, v = NOTHING]: readonly Uint8Array[]): Pick<FrameKeys, "k" | "v"> {
  return { k, v };
}

function namedResult([out = NOTHING, lse = NOTHING]: readonly Uint8Array[]): VisitResult {
  return { out, lse };
}

const NOTHING = new Uint8Array();
