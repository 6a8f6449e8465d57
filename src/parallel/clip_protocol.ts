// What the coordinator of a job, its workers, and workers among each other say: schemas, from which the types follow.
// All of it is structured data; the ports of `peer` travel with the message.

import * as v from "valibot";
import { DistantBytes } from "./distant_bytes.ts";
import type { PredictionMessage } from "./prediction_exchange.ts";
import type { RowsMessage, SentRows } from "./rows_message.ts";

const wholeNumber = v.pipe(v.number(), v.integer(), v.minValue(0));
const floats = v.instance(Float32Array<ArrayBuffer>);
const bytes = v.instance(Uint8Array<ArrayBuffer>);
const clip = v.object({ start: wholeNumber, end: wholeNumber });
const passName = v.picklist(["conditional", "unconditional", "perturbed"]);

/** Clips of every lane; parts are numbered lane by lane. */
const division = v.array(
  v.object({ passes: v.optional(v.array(passName)), clips: v.pipe(v.array(clip), v.minLength(1)) }),
);
const slotName = v.picklist(["sample", "last_sample", "m0", "m1"]);

/** Latent-sized tensors by slot, [channels, frames, h, w] each; slots that share one array share it here too. */
const slots = v.map(slotName, floats);

const statistics = v.object({
  bytesSent: v.number(),
  bytesReceived: v.number(),
  transferMs: v.number(),
  exposedMs: v.number(),
  waitedMs: v.number(),
});

/** From the coordinator to a worker. */
export const commandSchema = v.variant("type", [
  /** What is rendered: known to whoever made the coordinator and the workers, unread in between. */
  v.object({ type: v.literal("job"), job: v.unknown() }),
  /** Compute a part from a step on, in place of any earlier one. Its ports to the others follow. */
  v.object({
    type: v.literal("part"),
    epoch: wholeNumber,
    division,
    part: wholeNumber,
    /** Latents of the whole video, [channels, frames, h, w]. */
    shape: v.strictTuple([wholeNumber, wholeNumber, wholeNumber, wholeNumber]),
    /** Steps done. */
    step: wholeNumber,
    slots,
  }),
  /** A port to the worker of another part. */
  v.object({ type: v.literal("peer"), epoch: wholeNumber, part: wholeNumber, port: v.unknown() }),
  /** Everybody has taken step `step`; take the next one. */
  v.object({ type: v.literal("go"), epoch: wholeNumber, step: wholeNumber }),
  /** Stop computing; a part or the end follows. */
  v.object({ type: v.literal("stop") }),
  v.object({ type: v.literal("end") }),
]);

/** From a worker to the coordinator. */
export const reportSchema = v.variant("type", [
  v.object({
    type: v.literal("hello"),
    name: v.string(),
    adapter: v.string(),
    /** Where other workers reach it, for transports that need that. */
    address: v.optional(v.string()),
  }),
  /** The job is open. Seconds a frame, and a pair of frames; undefined when not measured. */
  v.object({
    type: v.literal("ready"),
    speed: v.optional(v.object({ perFrame: v.number(), perPair: v.number() })),
  }),
  /** A step is taken; slots only of the first lane. */
  v.object({
    type: v.literal("stepped"),
    epoch: wholeNumber,
    step: wholeNumber,
    slots,
    statistics,
    /** The most GPU memory in use at a time so far; not there for a CPU. */
    peakBytes: v.optional(v.number()),
  }),
  /** Every now and then, as long as the worker lives. */
  v.object({
    type: v.literal("status"),
    epoch: wholeNumber,
    /** Grows as long as there is progress. */
    progress: wholeNumber,
    /** Parts that it waits for. */
    waitingFor: v.array(wholeNumber),
  }),
  /** The part cannot be computed on; `isFatal`: nor can any other here. */
  v.object({
    type: v.literal("failed"),
    epoch: wholeNumber,
    isFatal: v.boolean(),
    name: v.string(),
    message: v.string(),
  }),
]);

/** What workers send each other. */
export type PeerMessage = RowsMessage | PredictionMessage;

/** The same as it is sent. */
export type SentPeerMessage = SentRows | PredictionMessage;

/** From a worker to another. */
export const peerSchema: v.GenericSchema<unknown, PeerMessage> = v.variant("type", [
  v.object({
    type: v.literal("rows"),
    kind: v.picklist(["keys", "hidden_states", "results"]),
    epoch: wholeNumber,
    step: wholeNumber,
    pass: v.string(),
    layer: wholeNumber,
    frames: v.pipe(v.array(wholeNumber), v.minLength(1)),
    payload: v.picklist(["f32", "f16", "int8"]),
    parts: v.array(v.union([bytes, v.instance(DistantBytes)])),
    sentAt: v.number(),
  }),
  v.object({
    type: v.literal("prediction"),
    epoch: wholeNumber,
    step: wholeNumber,
    pass: passName,
    start: wholeNumber,
    end: wholeNumber,
    data: floats,
    sentAt: v.number(),
  }),
]);

/** See `commandSchema`. */
export type Command = v.InferOutput<typeof commandSchema>;

/** See `reportSchema`. */
export type Report = v.InferOutput<typeof reportSchema>;
