// A part that a worker computes: its exchanges with the other parts, and the links that their messages take.

import type { FrameRange } from "../attention/frame_range.ts";
import { ClipExchange, type ClipExchangeOptions } from "./clip_exchange.ts";
import { type Command, type PeerMessage, peerSchema, type SentPeerMessage } from "./clip_protocol.ts";
import { placesOf } from "./division.ts";
import { addStatistics, type ExchangeStatistics } from "./exchange_statistics.ts";
import { Link } from "./link.ts";
import type { Port } from "./port.ts";
import { PredictionExchange } from "./prediction_exchange.ts";

/** What key exchanges depend on besides the part. */
export type KeyOptions = Pick<
  ClipExchangeOptions,
  "tokensPerFrame" | "heads" | "headDim" | "keyType" | "payload" | "mode" | "stale" | "onSpan"
>;

interface Peer {
  readonly link: Link<SentPeerMessage, PeerMessage>;
  /** What is sent stays the sender's. */
  readonly copies: boolean;
}

/** A message for a part whose port has not come yet. */
interface Unsent {
  readonly message: SentPeerMessage;
  readonly onPosted: () => void;
}

/** A part under way; ends with `stop`. */
export class RunningPart {
  readonly epoch: number;
  /** Latent frames. */
  readonly clip: FrameRange;
  /** It keeps the video's state for the coordinator. */
  readonly isFirstLane: boolean;
  readonly keys: ClipExchange;
  /** With the other lanes; undefined when all passes are computed here. */
  readonly predictions: PredictionExchange | undefined;
  readonly #controller = new AbortController();
  readonly #peers = new Map<number, Peer>();
  readonly #unsent = new Map<number, Unsent[]>();
  /** Number of the first part of the own lane. */
  readonly #firstPart: number;

  constructor(command: Command & { readonly type: "part" }, options: KeyOptions) {
    const { epoch, division, part, shape } = command;
    const places = placesOf(division);
    const { lane, clip } = places[part] ?? { lane: -1, clip: -1 };
    const { clips: partition = [] } = division[lane] ?? {};
    const range = partition[clip];
    if (range === undefined) throw new Error(`There is no part ${part}.`);
    this.epoch = epoch;
    this.clip = range;
    this.isFirstLane = lane === 0;
    this.#firstPart = part - clip;
    this.keys = new ClipExchange({
      ...options,
      epoch,
      partition,
      clip,
      firstStep: command.step,
      send: (toClip, message) => this.#send(this.#firstPart + toClip, message),
    });
    const sendPrediction = (to: number, message: SentPeerMessage): void => void this.#send(to, message);
    this.predictions =
      division.length > 1
        ? new PredictionExchange({ epoch, division, part, shape, send: sendPrediction })
        : undefined;
  }

  /** Aborted by `stop`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Grows as long as there is progress. */
  get progress(): number {
    return this.keys.progress + (this.predictions?.progress ?? 0);
  }

  /** Parts that are waited for now. */
  get waitingFor(): readonly number[] {
    const clips = this.keys.waitingFor.map((clip) => this.#firstPart + clip);
    return [...clips, ...(this.predictions?.waitingFor ?? [])];
  }

  /** What all exchanges came to. */
  get statistics(): ExchangeStatistics {
    return addStatistics([this.keys.statistics, this.predictions?.statistics ?? {}]);
  }

  /** Takes the port to another part. */
  meet(part: number, port: Port, token: string): void {
    const link = new Link<SentPeerMessage, PeerMessage>(port, {
      token,
      schema: peerSchema,
      takesDistant: true,
    });
    const peer = { link, copies: port.copies === true };
    link.listen({
      onMessage: (message) => {
        try {
          this.#receive(part, message);
        } catch (error) {
          this.#fail(error);
        }
      },
      // The coordinator sees for itself that a worker is gone, and decides.
      onClose: () => undefined,
      onRefused: (reason) => {
        if (!/twice|another job/.test(reason)) this.#fail(new Error(`Part ${part}: ${reason}`));
      },
    });
    this.#peers.set(part, peer);
    for (const { message, onPosted } of this.#unsent.get(part) ?? []) void post(peer, message).then(onPosted);
    this.#unsent.delete(part);
  }

  /** Ends everything; whoever waits is rejected with the reason. */
  stop(reason: unknown): void {
    this.#controller.abort(reason);
    this.#fail(reason);
    for (const { link } of this.#peers.values()) link.close();
    for (const { onPosted } of [...this.#unsent.values()].flat()) onPosted();
    this.#unsent.clear();
  }

  /** Resolves when the message's arrays may change. */
  async #send(to: number, message: SentPeerMessage): Promise<void> {
    const peer = this.#peers.get(to);
    if (peer) return await post(peer, message);
    if (this.signal.aborted) return;
    await new Promise<void>((onPosted) => {
      this.#unsent.set(to, [...(this.#unsent.get(to) ?? []), { message, onPosted }]);
    });
  }

  #receive(from: number, message: PeerMessage): void {
    if (message.type === "rows") this.keys.receive(from - this.#firstPart, message);
    else if (this.predictions) this.predictions.receive(from, message);
    else throw new Error(`Part ${from} sent a prediction, but all passes are computed here.`);
  }

  #fail(reason: unknown): void {
    this.keys.fail(reason);
    this.predictions?.fail(reason);
  }
}

/**
 * Sends a message; where arrays would move with it, ones of its own, since several messages may share one. Resolves when
 * the message's arrays may change.
 */
async function post({ link, copies }: Peer, message: SentPeerMessage): Promise<void> {
  if (copies) return await new Promise((resolve) => link.send(message, [], resolve));
  if (message.type === "prediction") return link.send(message, [message.data.buffer]);
  const parts = message.parts.map((part) => part.slice());
  link.send(
    { ...message, parts },
    parts.map(({ buffer }) => buffer),
  );
}
