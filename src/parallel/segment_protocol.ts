// What the maker of a video and its workers say about segments: schemas, from which the types follow.

import * as v from "valibot";

const wholeNumber = v.pipe(v.number(), v.integer(), v.minValue(0));

/** To a worker. */
export const segmentCommandSchema = v.variant("type", [
  /** Which video it is: known to whoever made the pool and the workers, unread in between. */
  v.object({ type: v.literal("job"), job: v.unknown() }),
  v.object({
    type: v.literal("make"),
    index: wholeNumber,
    /** Latent frames. */
    range: v.object({ start: wholeNumber, end: wholeNumber }),
    /** First latent frame of the latents. */
    from: wholeNumber,
    latents: v.object({
      data: v.instance(Float32Array<ArrayBuffer>),
      shape: v.strictTuple([wholeNumber, wholeNumber, wholeNumber, wholeNumber]),
    }),
  }),
  v.object({ type: v.literal("end") }),
]);

/** From a worker. */
export const segmentReportSchema = v.variant("type", [
  v.object({ type: v.literal("hello"), name: v.string() }),
  /** The job is open. */
  v.object({ type: v.literal("ready") }),
  /** Every now and then, as long as the worker lives; `progress` grows as long as there is any. */
  v.object({ type: v.literal("status"), progress: wholeNumber }),
  v.object({
    type: v.literal("made"),
    index: wholeNumber,
    numFrames: wholeNumber,
    bytes: v.instance(Uint8Array<ArrayBuffer>),
  }),
  /** The segment was not made, or, without an index, the job not opened; `isFatal`: nor can any other be here. */
  v.object({
    type: v.literal("failed"),
    index: v.optional(wholeNumber),
    isFatal: v.boolean(),
    name: v.string(),
    message: v.string(),
  }),
]);

/** See `segmentCommandSchema`. */
export type SegmentCommand = v.InferOutput<typeof segmentCommandSchema>;

/** See `segmentReportSchema`. */
export type SegmentReport = v.InferOutput<typeof segmentReportSchema>;
