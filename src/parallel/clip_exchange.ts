// A worker's side of the context exchange: routes its clip's rows to those that need them, and keeps what arrives until
// the transformer asks for it. What has to come from whom is known beforehand, so anything else is refused. How messages
// travel is the transports' business.

import { layerRules, layerStrengths } from "../attention/layer_rules.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { ContextExchange, FrameRows, Visit } from "../dit/context_exchange.ts";
import { DistantBytes } from "./distant_bytes.ts";
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
  isWanted,
  type KeyType,
  partBytes,
  type PayloadType,
  type RowsKind,
  travelType,
} from "./key_codec.ts";
import { KeyMailbox } from "./key_mailbox.ts";
import { rowsAddress, type RowsMessage, type SentRows } from "./rows_message.ts";
import { type LayerPass, sendsKeys, type StaleKeys, usesStale } from "./stale_keys.ts";
import { type OnSpan, spanOf } from "../util/span.ts";
import { wallClock } from "../util/wall_clock.ts";

/** The video, its clips and how they talk. */
export interface ClipExchangeOptions {
  readonly epoch: number;
  readonly partition: Partition;
  /** Number of the own clip. */
  readonly clip: number;
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly headDim: number;
  /** Element type of what travels in the own GPU memory. */
  readonly keyType: KeyType;
  readonly payload: PayloadType;
  /** @default "keys" */
  readonly mode?: ExchangeMode | undefined;
  /** Nothing may be answered elsewhere then. @default every step uses its own keys */
  readonly stale?: StaleKeys | undefined;
  /** The step that this division begins with. @default 0 */
  readonly firstStep?: number | undefined;
  /** Is told of "write" (until what is sent may change), "wait" (for a peer's message) and "read". @default nobody */
  readonly onSpan?: OnSpan | undefined;
  /** Hands a message to the transport. Resolves when its arrays may change. */
  readonly send: (toClip: number, message: SentRows) => Promise<void>;
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

type Letter = RowsMessage & Omit<Delivery, "fetched">;

/** What a layer sends and is sent here. */
interface LayerTransfers {
  readonly outgoing: readonly Transfer[];
  readonly incoming: readonly Transfer[];
}

/** The exchange of one clip for one division of the video. */
export class ClipExchange {
  readonly #options: ClipExchangeOptions;
  readonly #mailbox = new KeyMailbox<Letter>();
  readonly #transfers = new Map<string, readonly Transfer[]>();
  /** Rows that the next step uses once more. */
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
    const { clip, partition, mode = "keys", stale, payload, headDim } = this.#options;
    const rows = mode === "keys" ? "keys" : "hidden_states";
    const at = (layer: number): LayerMoment => ({ ...pass, layer });
    const known = new Map<number, LayerTransfers>();
    const of = (layer: number): LayerTransfers => {
      const found = known.get(layer) ?? this.#ownTransfers(at(layer));
      known.set(layer, found);
      return found;
    };
    const visit = (to: number, { frames }: Transfer, owner: number): Visit => {
      return { clip: to, queries: frames, keys: partition[owner] ?? { start: 0, end: 0 } };
    };
    return {
      rows,
      int8Group: payload === "int8" ? headDim : undefined,
      sends: (layer) => {
        this.#progress++;
        return sendsKeys(stale, this.#layerPass(at(layer))) ? unionOf(ofKind(of(layer).outgoing, rows)) : [];
      },
      needs: (layer) => unionOf(ofKind(of(layer).incoming, rows)),
      keys: (layer) => keysOf(ofKind(of(layer).incoming, rows)),
      visits: (layer) =>
        ofKind(of(layer).incoming, "results").map((each) => visit(each.from, each, each.from)),
      guests: (layer) => ofKind(of(layer).outgoing, "results").map((each) => visit(each.to, each, clip)),
      publish: async (layer, sent) => {
        const transfers = ofKind(of(layer).outgoing, rows);
        await Promise.all(transfers.map((each) => this.#send(each, at(layer), partsOf(sent, each.frames))));
      },
      sendResult: async (layer, { clip: to, queries: frames }, { out, lse }) =>
        await this.#send({ kind: "results", from: clip, to, frames }, at(layer), [out, lse]),
      collect: async (layer, into, computed) => {
        const incoming = ofKind(of(layer).incoming, rows);
        const needs = unionOf(incoming);
        await this.#collect(incoming, { moment: at(layer), computed }, ({ frames }) =>
          partsOf({ frames: needs, parts: into }, frames),
        );
      },
      collectResults: async (layer, into, computed) => {
        const incoming = ofKind(of(layer).incoming, "results");
        await this.#collect(incoming, { moment: at(layer), computed }, (transfer) => {
          const { out = NOTHING, lse = NOTHING } = into[incoming.indexOf(transfer)] ?? {};
          return [out, lse];
        });
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
    if ((payload === "int8") !== (this.#options.payload === "int8")) {
      throw new Error(`Rows came as ${payload}, but this job's travel as ${this.#options.payload}.`);
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

  async #collect(
    wanted: readonly Transfer[],
    { moment, computed }: { readonly moment: LayerMoment; readonly computed: Promise<void> },
    partsFor: (transfer: Transfer) => readonly Uint8Array[],
  ): Promise<void> {
    if (wanted.length === 0) return;
    const { onSpan } = this.#options;
    let idleFrom = Infinity;
    computed.then(() => (idleFrom = wallClock())).catch(() => undefined);
    this.#waitingFor = wanted.map(({ from }) => from);
    const missing = new Set(this.#waitingFor);
    const take = async (transfer: Transfer): Promise<Delivery> => {
      const { kind, from, frames } = transfer;
      const { letter, isLast } = await spanOf(onSpan, "wait", () => this.#take(kind, moment, from));
      missing.delete(from);
      this.#waitingFor = [...missing];
      if (frames.join() !== letter.frames.join()) {
        throw new Error(
          `Clip ${from} sent ${kind} of frames ${letter.frames.join(", ")} of layer ${moment.layer}, ` +
            `not ${frames.join(", ")}.`,
        );
      }
      this.#add({ bytesReceived: bytesOf(letter.parts) });
      return await spanOf(onSpan, "read", () => this.#fill(partsFor(transfer), letter, isLast));
    };
    const deliveries = await Promise.all(wanted.map(take));
    this.#progress++;
    this.#add(deliveryTimes(deliveries, idleFrom));
  }

  /** Writes what a letter brings to where it is wanted. */
  async #fill(into: readonly Uint8Array[], letter: Letter, isLast: boolean): Promise<Delivery> {
    const { keyType: to } = this.#options;
    const { kind, payload, parts, sentAt, arrivedAt } = letter;
    const from = wallClock();
    const isDistant = parts.some((part) => part instanceof DistantBytes);
    await Promise.all(
      parts.map(async (part, index) => {
        const target = into[index] ?? NOTHING;
        const isAsItIs = isWanted(payload, to) || (kind === "results" && index > 0);
        if (isAsItIs && part instanceof DistantBytes) await part.fetch(target);
        else if (isAsItIs) target.set(await wholeOf(part));
        else target.set(decodeKeys(await wholeOf(part), { payload, to }));
        if (isLast && part instanceof DistantBytes) part.drop();
      }),
    );
    return { sentAt, arrivedAt, fetched: isDistant ? { from, to: wallClock() } : undefined };
  }

  /** The letter that a layer uses, which may be the one of the step before; and whether nobody uses it again. */
  async #take(
    kind: RowsKind,
    moment: LayerMoment,
    from: number,
  ): Promise<{ readonly letter: Letter; readonly isLast: boolean }> {
    const { stale } = this.#options;
    const layer = this.#layerPass(moment);
    const isStale = usesStale(stale, layer);
    const step = isStale ? moment.step - 1 : moment.step;
    const address = rowsAddress({ kind, ...moment, step }, from);
    const letter = this.#kept.get(address) ?? (await this.#mailbox.take(address));
    this.#kept.delete(address);
    const isLast = isStale || !usesStale(stale, { ...layer, step: step + 1 });
    if (!isLast) this.#kept.set(address, letter);
    return { letter, isLast };
  }

  #layerPass(moment: LayerMoment): LayerPass {
    const { firstStep = 0 } = this.#options;
    const { pass, step } = moment;
    return { pass, step, firstStep, transfersAt: (other) => this.#transfersOf({ ...moment, step: other }) };
  }

  async #send(
    { kind, to, frames }: Transfer,
    moment: LayerMoment,
    rows: readonly Uint8Array[],
  ): Promise<void> {
    const { epoch, keyType: from, payload, send, onSpan } = this.#options;
    const { step, pass, layer } = moment;
    const sentAt = wallClock();
    // What comes back beside results are log-sum-exps, which stay as they are.
    const parts = rows.map((part, index) =>
      kind === "results" && index > 0 ? part : encodeKeys(part, { from, payload }),
    ) as Uint8Array<ArrayBuffer>[];
    this.#add({ bytesSent: bytesOf(parts) });
    const common = { type: "rows", kind, epoch, step, pass, layer, frames } as const;
    const message = { ...common, payload: travelType(from, payload), parts, sentAt };
    await spanOf(onSpan, "write", () => send(to, message));
  }

  #ownTransfers(moment: LayerMoment): LayerTransfers {
    const { clip } = this.#options;
    const all = this.#transfersOf(moment);
    return {
      outgoing: all.filter(({ from }) => from === clip),
      incoming: all.filter(({ to }) => to === clip),
    };
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

function ofKind(transfers: readonly Transfer[], kind: RowsKind): Transfer[] {
  return transfers.filter((transfer) => transfer.kind === kind);
}

function unionOf(transfers: readonly Transfer[]): number[] {
  return ascending(transfers.flatMap(({ frames }) => frames));
}

/** Frames whose keys the own queries attend to. */
function keysOf(transfers: readonly Transfer[]): number[] {
  return ascending(transfers.flatMap((each) => (each.kind === "hidden_states" ? each.keys : each.frames)));
}

function ascending(frames: readonly number[]): number[] {
  return [...new Set(frames)].sort((a, b) => a - b);
}

/** Some frames of more, of every part; without a copy where they follow each other. */
function partsOf({ frames: all, parts }: FrameRows, frames: readonly number[]): Uint8Array[] {
  const first = all.indexOf(frames[0] ?? -1);
  const isRun = frames.every((frame, i) => all[first + i] === frame);
  return parts.map((bytes) => {
    const perFrame = bytes.byteLength / all.length;
    if (isRun) return bytes.subarray(first * perFrame, (first + frames.length) * perFrame);
    return joined(frames.map((frame) => bytes.subarray(all.indexOf(frame) * perFrame).subarray(0, perFrame)));
  });
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

function bytesOf(parts: readonly { readonly byteLength: number }[]): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

async function wholeOf(part: Uint8Array | DistantBytes): Promise<Uint8Array> {
  if (!(part instanceof DistantBytes)) return part;
  const bytes = new Uint8Array(part.byteLength);
  await part.fetch(bytes);
  return bytes;
}

const NOTHING = new Uint8Array();
