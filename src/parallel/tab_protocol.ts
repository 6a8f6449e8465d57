// What tabs of one origin say to each other before a worker of one computes for another: schemas, from which the types
// follow. Everything that comes is checked against them; who may help is decided in guest_list.ts.

import * as v from "valibot";

const id = v.pipe(v.string(), v.regex(/^[\w-]{1,64}$/));
const words = v.pipe(v.string(), v.maxLength(1000));
const wholeNumber = v.pipe(v.number(), v.integer(), v.minValue(0));

const jobNotice = v.object({
  id,
  prompt: words,
  /** Steps done. */
  step: wholeNumber,
  numSteps: wholeNumber,
});

/** To all tabs, over a BroadcastChannel. */
export const presenceSchema = v.variant("type", [
  /** A tab that makes videos is here; `job` while it makes one. */
  v.object({ type: v.literal("here"), tab: id, job: v.optional(jobNotice) }),
  /** Who is here? */
  v.object({ type: v.literal("who") }),
]);

/** From a tab to the broker, a SharedWorker. */
export const brokerRequestSchema = v.variant("type", [
  /** Ports for this tab are mine. */
  v.object({ type: v.literal("lead"), tab: id }),
  /** A port to that tab, please. */
  v.object({ type: v.literal("join"), tab: id }),
]);

/** From the broker to a tab. */
export const brokerAnswerSchema = v.variant("type", [
  /** A port travels along: to whoever wants to join, or to the tab that was asked for. */
  v.object({ type: v.literal("port"), tab: id }),
  v.object({ type: v.literal("nobody"), tab: id }),
]);

/** From a helper to the window that opened it; a port travels along. */
export const openerGreetingSchema = v.object({ type: v.literal("weft-guest"), tab: id });

/** From a helper to the tab it wants to help. */
export const guestSchema = v.object({
  type: v.literal("hello"),
  /** From the address it was opened with; without one somebody has to let it in. */
  invitation: v.optional(v.string()),
  /** The Web Lock that it holds for as long as it lives. */
  lock: v.pipe(v.string(), v.startsWith("weft-helper:"), v.maxLength(100)),
});

/** From a tab to its helper. */
export const hostSchema = v.variant("type", [
  /** Somebody is asked whether it may help. */
  v.object({ type: v.literal("asked") }),
  v.object({ type: v.literal("admitted"), name: words }),
  v.object({ type: v.literal("refused"), reason: words }),
  /** There is work; two ports travel along, for clips and for segments. */
  v.object({ type: v.literal("job"), token: v.string(), prompt: words }),
  /** The job has ended; whoever still works for it can stop. */
  v.object({ type: v.literal("over") }),
]);

/** What a tab tells of the video it makes. */
export type JobNotice = v.InferOutput<typeof jobNotice>;

/** See `presenceSchema`. */
export type PresenceMessage = v.InferOutput<typeof presenceSchema>;

/** See `brokerRequestSchema`. */
export type BrokerRequest = v.InferOutput<typeof brokerRequestSchema>;

/** See `brokerAnswerSchema`. */
export type BrokerAnswer = v.InferOutput<typeof brokerAnswerSchema>;

/** See `guestSchema`. */
export type GuestMessage = v.InferOutput<typeof guestSchema>;

/** See `hostSchema`. */
export type HostMessage = v.InferOutput<typeof hostSchema>;
