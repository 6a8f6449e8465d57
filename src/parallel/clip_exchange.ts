// A worker's side of the context exchange: routes its clip's keys and values to those that need them, and keeps what
// arrives until the transformer asks for it. What has to come from whom is known beforehand, so anything else is refused.
// How messages travel is the transports' business.

import { layerRules, layerStrengths } from "../attention/layer_rules.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { ContextExchange, FrameKeys } from "../dit/context_exchange.ts";
import { exchangePlan, type Partition, type Transfer } from "./exchange_plan.ts";
import {
  decodeKeys,
  encodeKeys,
  type KeyType,
  payloadBytes,
  type PayloadType,
  travelType,
} from "./key_codec.ts";
import {
  addStatistics,
  type Delivery,
  deliveryTimes,
  type ExchangeStatistics,
  NO_EXCHANGE,
} from "./exchange_statistics.ts";
import { KeyMailbox } from "./key_mailbox.ts";
import { wallClock } from "./wall_clock.ts";

/** Keys and values of some frames of one layer, from one clip to another. */
export interface KeysMessage {
  readonly type: "keys";
  /** Which division of the video into clips it belongs to. */
  readonly epoch: number;
  readonly step: number;
  /** The forward pass of the step. */
  readonly pass: string;
  readonly layer: number;
  readonly frames: readonly number[];
  readonly payload: PayloadType;
  /** Keys, then values, as `encodeKeys` makes them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Milliseconds since 1970. */
  readonly sentAt: number;
}

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
  /** Hands a message to the transport; its bytes may be transferred. */
  readonly send: (toClip: number, message: KeysMessage) => void;
}

/** One forward pass. */
export interface PassMoment {
  readonly step: number;
  readonly pass: string;
  /** 0 to 1000. */
  readonly timestep: number;
  readonly plan: AttentionPlan;
}

/** The exchange of one clip for one division of the video. */
export class ClipExchange {
  readonly #options: ClipExchangeOptions;
  readonly #mailbox = new KeyMailbox<KeysMessage & Delivery>();
  readonly #transfers = new Map<string, readonly Transfer[]>();
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

  /** Clips whose keys the transformer waits for now. */
  get waitingFor(): readonly number[] {
    return this.#waitingFor;
  }

  /** The exchange of a forward pass. */
  forPass(moment: PassMoment): ContextExchange {
    const transfersOf = (layer: number): readonly Transfer[] => this.#transfersOf(moment, layer);
    const own = this.#options.clip;
    return {
      sends: (layer) => {
        this.#progress++;
        return unionOf(transfersOf(layer).filter(({ from }) => from === own));
      },
      needs: (layer) => unionOf(transfersOf(layer).filter(({ to }) => to === own)),
      publish: (layer, keys) => {
        for (const { from, to, frames } of transfersOf(layer)) {
          if (from === own) this.#send(to, { ...moment, layer }, framesOf(keys, frames));
        }
      },
      collect: (layer, computed) => this.#collect({ ...moment, layer }, { transfersOf, computed }),
    };
  }

  /**
   * Takes a message that the transport brings.
   *
   * @throws Error for one that is of another time, or not what this clip was to be sent
   */
  receive(fromClip: number, message: KeysMessage): void {
    const { epoch, tokensPerFrame, heads, headDim } = this.#options;
    const { frames, bytes, payload, layer } = message;
    if (message.epoch !== epoch) {
      throw new Error(`Keys of epoch ${message.epoch} came in epoch ${epoch}.`);
    }
    const wanted = payloadBytes({ rows: frames.length * tokensPerFrame, heads, headDim }, payload);
    if (bytes.byteLength !== wanted) {
      throw new Error(
        `Keys of layer ${layer} for frames ${frames.join(", ")} came with ${bytes.byteLength} bytes, not ${wanted}.`,
      );
    }
    if (!this.#mailbox.put(addressOf(message, fromClip), { ...message, arrivedAt: wallClock() })) {
      throw new Error(`Keys of layer ${layer} from clip ${fromClip} came twice.`);
    }
  }

  /** Fails whoever waits now or later: a peer is gone, or the work is cancelled. */
  fail(reason: unknown): void {
    this.#mailbox.fail(reason);
  }

  async #collect(
    moment: PassMoment & { readonly layer: number },
    {
      transfersOf,
      computed,
    }: { transfersOf: (layer: number) => readonly Transfer[]; computed: Promise<void> },
  ): Promise<FrameKeys[]> {
    let computedAt = Infinity;
    computed.then(() => (computedAt = wallClock())).catch(() => undefined);
    const wanted = transfersOf(moment.layer).filter(({ to }) => to === this.#options.clip);
    this.#waitingFor = wanted.map(({ from }) => from);
    const missing = new Set(this.#waitingFor);
    const take = async (from: number): Promise<KeysMessage & Delivery> => {
      const message = await this.#mailbox.take(addressOf(moment, from));
      missing.delete(from);
      this.#waitingFor = [...missing];
      return message;
    };
    const messages = await Promise.all(wanted.map(({ from }) => take(from)));
    this.#progress++;
    const bytesReceived = messages.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    this.#add({ ...deliveryTimes(messages, computedAt), bytesReceived });
    return messages.map((message, index) => {
      const { frames = [] } = wanted[index] ?? {};
      if (frames.join() !== message.frames.join()) {
        throw new Error(
          `Clip ${wanted[index]?.from} sent frames ${message.frames.join(", ")} of layer ${moment.layer}, not ${frames.join(", ")}.`,
        );
      }
      return this.#decode(message);
    });
  }

  #send(
    to: number,
    { step, pass, layer }: PassMoment & { layer: number },
    { frames, k, v }: FrameKeys,
  ): void {
    const { epoch, keyType: from, payload, headDim, send } = this.#options;
    const sentAt = wallClock();
    const halves = [k, v].map((rows) => encodeKeys(rows, { from, payload, headDim }));
    const bytes = joined(halves);
    this.#add({ bytesSent: bytes.byteLength });
    const travels = travelType(from, payload);
    send(to, { type: "keys", epoch, step, pass, layer, frames, payload: travels, bytes, sentAt });
  }

  #add(more: Partial<ExchangeStatistics>): void {
    this.#statistics = addStatistics([this.#statistics, more]);
  }

  #decode({ frames, bytes, payload }: KeysMessage): FrameKeys {
    const { keyType: to, headDim } = this.#options;
    const half = bytes.byteLength / 2;
    const [k, v] = [bytes.subarray(0, half), bytes.subarray(half)].map((rows) =>
      decodeKeys(rows, { payload, to, headDim }),
    );
    return { frames, k: k ?? new Uint8Array(), v: v ?? new Uint8Array() };
  }

  #transfersOf({ plan, step, timestep }: PassMoment, layer: number): readonly Transfer[] {
    const { partition, heads, tokensPerFrame } = this.#options;
    const numFrames = partition.at(-1)?.end ?? 0;
    const { key } = layerRules(plan, { layer, step, timestep }, { numFrames, heads });
    const address = `${key}\n${layerStrengths(plan, layer, heads)?.join() ?? ""}`;
    let transfers = this.#transfers.get(address);
    if (transfers === undefined) {
      transfers = exchangePlan(plan, partition, { tokensPerFrame, heads, layer, step, timestep });
      this.#transfers.set(address, transfers);
    }
    return transfers;
  }
}

function addressOf(
  { step, pass, layer }: { step: number; pass: string; layer: number },
  from: number,
): string {
  return `${step} ${pass} ${layer} ${from}`;
}

function unionOf(transfers: readonly Transfer[]): number[] {
  return [...new Set(transfers.flatMap(({ frames }) => frames))].sort((a, b) => a - b);
}

/** Some of the frames, as views where they follow each other. */
function framesOf({ frames: all, k, v }: FrameKeys, frames: readonly number[]): FrameKeys {
  const perFrame = k.byteLength / all.length;
  const first = all.indexOf(frames[0] ?? -1);
  const isRun = frames.every((frame, i) => all[first + i] === frame);
  const take = (bytes: Uint8Array): Uint8Array =>
    isRun
      ? bytes.subarray(first * perFrame, (first + frames.length) * perFrame)
      : joined(frames.map((frame) => bytes.subarray(all.indexOf(frame) * perFrame).subarray(0, perFrame)));
  return { frames, k: take(k), v: take(v) };
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}
