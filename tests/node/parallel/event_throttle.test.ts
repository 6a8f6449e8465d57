import { expect, test } from "vitest";
import { throttleEvents } from "../../../src/parallel/event_throttle.ts";
import type { ServiceEvent } from "../../../src/parallel/render_protocol.ts";

test("progress passes ten times a second; firsts, lasts and everything else always", () => {
  const sent: ServiceEvent[] = [];
  let now = 0;
  const listen = throttleEvents((event) => sent.push(event), { now: () => now });
  const progress = (stage: "load" | "denoise", done: number): void =>
    listen({ type: "progress", stage, done, total: 1000, unit: "steps" });
  for (let i = 0; i < 1000; i++) {
    now = i; // one a millisecond
    progress("load", i);
  }
  expect(sent).toHaveLength(10);
  progress("load", 1000);
  progress("denoise", 1);
  progress("denoise", 2);
  listen({ type: "notice", message: "seen" });
  listen({ type: "stage", stage: "decode" });
  expect(sent.slice(10).map((event) => ("done" in event ? event.done : event.type))).toEqual([
    1000,
    1,
    "notice",
    "stage",
  ]);
});
