// A worker's side of the exchange between lanes: the prediction of every own pass goes to those workers of other lanes
// that have some of the same frames, and theirs are put together from what several of them send. As f32, so that all
// workers take the very same step.

import type { FrameRange } from "../attention/frame_range.ts";
import type { ForwardPass } from "../guiders/guider.ts";
import type { PassSharing, SharedPass } from "../pipelines/pass_sharing.ts";
import { type Division, type PartPlace, placesOf } from "./division.ts";
import {
  addStatistics,
  type Delivery,
  deliveryTimes,
  type ExchangeStatistics,
  NO_EXCHANGE,
} from "./exchange_statistics.ts";
import { KeyMailbox } from "./key_mailbox.ts";
import { type LatentShape, putFrames, sliceFrames } from "./latent_frames.ts";
import { wallClock } from "../util/wall_clock.ts";

/** The prediction of some frames, from one part to another. */
export interface PredictionMessage extends FrameRange {
  readonly type: "prediction";
  /** Which division of the job it belongs to. */
  readonly epoch: number;
  readonly step: number;
  readonly pass: string;
  /** [channels, frames, h, w]. */
  readonly data: Float32Array<ArrayBuffer>;
  /** Milliseconds since 1970. */
  readonly sentAt: number;
}

/** The job and how its workers talk. */
export interface PredictionExchangeOptions {
  readonly epoch: number;
  readonly division: Division;
  /** Number of the own part. */
  readonly part: number;
  /** Latents of the whole video. */
  readonly shape: LatentShape;
  readonly send: (toPart: number, message: PredictionMessage) => void;
}

/** The exchange of one part for one division of the job. */
export class PredictionExchange implements PassSharing {
  readonly #options: PredictionExchangeOptions;
  readonly #places: readonly PartPlace[];
  readonly #place: PartPlace;
  readonly #mailbox = new KeyMailbox<PredictionMessage & Delivery>();
  #waitingFor: readonly number[] = [];
  #progress = 0;
  #statistics = NO_EXCHANGE;

  constructor(options: PredictionExchangeOptions) {
    this.#options = options;
    this.#places = placesOf(options.division);
    this.#place = this.#places[options.part] ?? { lane: 0, clip: 0 };
  }

  /** What has been done so far. */
  get statistics(): ExchangeStatistics {
    return this.#statistics;
  }

  /** Grows with every prediction. */
  get progress(): number {
    return this.#progress;
  }

  /** Parts whose predictions are waited for now. */
  get waitingFor(): readonly number[] {
    return this.#waitingFor;
  }

  isOwn(pass: ForwardPass): boolean {
    return this.#hasPass(this.#place.lane, pass);
  }

  publish({ step, pass }: SharedPass, prediction: Float32Array): void {
    const { epoch, send } = this.#options;
    this.#progress++;
    for (const { part, range } of this.#overlaps((lane) => lane !== this.#place.lane)) {
      const data = sliceFrames(prediction, this.#ownShape(), this.#within(range));
      this.#add({ bytesSent: data.byteLength });
      send(part, { type: "prediction", epoch, step, pass, ...range, data, sentAt: wallClock() });
    }
  }

  async collect({ step, pass }: SharedPass): Promise<Float32Array> {
    const from = this.#overlaps((lane) => this.#hasPass(lane, pass));
    const beganAt = wallClock();
    this.#waitingFor = from.map(({ part }) => part);
    const messages = await Promise.all(
      from.map(({ part, range }) => this.#mailbox.take(addressOf({ step, pass }, part, range))),
    );
    this.#waitingFor = [];
    this.#progress++;
    const shape = this.#ownShape();
    const prediction = new Float32Array(shape.reduce((product, size) => product * size, 1));
    for (const message of messages)
      putFrames(prediction, shape, { ...this.#within(message), data: message.data });
    const bytesReceived = messages.reduce((sum, { data }) => sum + data.byteLength, 0);
    this.#add({ ...deliveryTimes(messages, beganAt), bytesReceived });
    return prediction;
  }

  /**
   * Takes a message that the transport brings.
   *
   * @throws Error for one that is of another time, or not what this part was to be sent
   */
  receive(fromPart: number, message: PredictionMessage): void {
    const { epoch, shape } = this.#options;
    const { step, pass, start, end, data } = message;
    if (message.epoch !== epoch) {
      throw new Error(`A prediction of epoch ${message.epoch} came in epoch ${epoch}.`);
    }
    const expected = this.#overlaps((lane) => this.#hasPass(lane, pass)).find(
      ({ part }) => part === fromPart,
    );
    if (expected?.range.start !== start || expected.range.end !== end) {
      throw new Error(
        `The prediction of frames ${start} to ${end - 1} of the ${pass} pass does not belong here.`,
      );
    }
    const [channels, , height, width] = shape;
    const elements = channels * (end - start) * height * width;
    if (data.length !== elements) {
      throw new Error(`A prediction of the ${pass} pass came with ${data.length} numbers, not ${elements}.`);
    }
    const letter = { ...message, arrivedAt: wallClock() };
    if (!this.#mailbox.put(addressOf({ step, pass }, fromPart, message), letter)) {
      throw new Error(`The prediction of the ${pass} pass came twice from part ${fromPart}.`);
    }
  }

  /** Fails whoever waits now or later: a peer is gone, or the work is cancelled. */
  fail(reason: unknown): void {
    this.#mailbox.fail(reason);
  }

  /** Parts of the chosen lanes that have some of the own frames, and which. */
  #overlaps(isChosen: (lane: number) => boolean): { part: number; range: FrameRange }[] {
    const own = this.#own();
    return this.#places.flatMap(({ lane, clip }, part) => {
      const other = this.#options.division[lane]?.clips[clip];
      if (other === undefined || !isChosen(lane)) return [];
      const range = { start: Math.max(own.start, other.start), end: Math.min(own.end, other.end) };
      return range.start < range.end ? [{ part, range }] : [];
    });
  }

  #hasPass(lane: number, pass: string): boolean {
    const { passes } = this.#options.division[lane] ?? {};
    return passes?.some((each) => each === pass) ?? true;
  }

  #own(): FrameRange {
    const { lane, clip } = this.#place;
    return this.#options.division[lane]?.clips[clip] ?? { start: 0, end: 0 };
  }

  #ownShape(): LatentShape {
    const [channels, , height, width] = this.#options.shape;
    const { start, end } = this.#own();
    return [channels, end - start, height, width];
  }

  /** Frames counted from the own first. */
  #within({ start, end }: FrameRange): FrameRange {
    const first = this.#own().start;
    return { start: start - first, end: end - first };
  }

  #add(more: Partial<ExchangeStatistics>): void {
    this.#statistics = addStatistics([this.#statistics, more]);
  }
}

function addressOf({ step, pass }: { step: number; pass: string }, part: number, range: FrameRange): string {
  return `${step} ${pass} ${part} ${range.start}`;
}
