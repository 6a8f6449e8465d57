// Position rules as rotations. A logit depends only on the difference of the rotations of q and k, so a changed relative
// distance needs no rotation of its own per pair: keys whose distance becomes m are all rotated to time 0 and their
// queries to time m, for every m that occurs. Each m costs a rotation of q and one more attention pass over its keys,
// merged by log-sum-exp; the keys are shared by all of them. Rules that change no distance stay in one pass.
// The alternative, rotating k for every query frame, would cost frames x keys rotations.

import type { PositionRule } from "./plan.ts";

/** Where in time the frames of q or k are put. */
export type TemporalPlace =
  /** Each frame at its own number. */
  | { readonly kind: "true" }
  /** All frames at one time. */
  | { readonly kind: "constant"; readonly time: number }
  /** Each frame at its own number, with temporal frequency `frequency` (from 1) set to `radians` a frame. */
  | { readonly kind: "frequency"; readonly frequency: number; readonly radians: number };

/** Rotations of q and k in one attention pass. */
export interface PassPositions {
  readonly query: TemporalPlace;
  readonly key: TemporalPlace;
}

/** Rotations of a pair of frames `distance` (query frame minus key frame) apart. */
export function passPositions(rule: PositionRule, distance: number, numFrames: number): PassPositions {
  if (rule.kind === "riflex") {
    // 0.9 of a turn, as in RIFLEx's code: below one, so that the last frame does not meet the first.
    const radians = (0.9 * 2 * Math.PI) / (rule.length ?? numFrames);
    const place: TemporalPlace = { kind: "frequency", frequency: rule.frequency, radians };
    return { query: place, key: place };
  }
  const apparent = apparentDistance(rule, distance);
  if (apparent === distance) return { query: { kind: "true" }, key: { kind: "true" } };
  return { query: { kind: "constant", time: apparent }, key: { kind: "constant", time: 0 } };
}

/** One text per place, for caches. */
export function placeKey(place: TemporalPlace): string {
  switch (place.kind) {
    case "true":
      return "true";
    case "constant":
      return `constant ${place.time}`;
    case "frequency":
      return `frequency ${place.frequency} ${place.radians}`;
  }
}

/**
 * How far apart a pair of frames is made to seem. VRPR quantises from each of its borders on, so that the result is
 * whole and never falls with the distance (FreeLOC quantises from 0 and adds an offset: the same up to one step where
 * a border is no multiple of the step).
 */
export function apparentDistance(rule: Exclude<PositionRule, { kind: "riflex" }>, distance: number): number {
  const away = Math.abs(distance);
  const sign = Math.sign(distance);
  switch (rule.kind) {
    case "true":
      return distance;
    case "clamped":
      return sign * Math.min(away, rule.max);
    case "vrpr": {
      const { near, far, nearStep, farStep, max } = rule;
      if (away < near) return sign * Math.min(away, max);
      if (away < far) return sign * Math.min(near + Math.floor((away - near) / nearStep), max);
      const start = near + Math.ceil((far - near) / nearStep);
      return sign * Math.min(start + Math.floor((away - far) / farStep), max);
    }
  }
}
