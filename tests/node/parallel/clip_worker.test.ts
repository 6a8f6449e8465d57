// A worker by itself: what it does with work that was taken back.
import { expect, test } from "vitest";
import { reportSchema } from "../../../src/parallel/clip_protocol.ts";
import type { Command, Report } from "../../../src/parallel/clip_protocol.ts";
import { type ClipComputer, type ClipWork, runClipWorker } from "../../../src/parallel/clip_worker.ts";
import { Link } from "../../../src/parallel/link.ts";
import { portOf } from "../../../src/parallel/port.ts";

const TOKEN = "job";

test("a step that ends after its part was taken back keeps nobody waiting", async () => {
  const { port1, port2 } = new MessageChannel();
  const link = new Link<Command, Report>(portOf(port1), { token: TOKEN, schema: reportSchema });
  const stepped: number[] = [];
  let onReport: () => void = () => undefined;
  link.listen({
    onMessage: (report) => {
      if (report.type === "stepped") stepped.push(report.epoch);
      if (report.type === "ready" || report.type === "stepped") onReport();
    },
    onClose: () => undefined,
  });
  const nextReport = (): Promise<void> => new Promise((resolve) => (onReport = resolve));
  /** Ends its first step only when nobody wants it any more. */
  const run = async ({ clip, start, signal, onStep }: ClipWork): Promise<void> => {
    if (clip.end === 2) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await onStep({ ...start, step: start.step + 1 });
  };
  const keys = { tokensPerFrame: 1, heads: 1, headDim: 4, keyType: "f32", payload: "f32" } as const;
  const computer: ClipComputer = { keys, run, dispose: () => undefined };
  const ended = runClipWorker({
    port: portOf(port2),
    token: TOKEN,
    name: "worker",
    adapter: "none",
    open: async () => computer,
  });
  const part = (epoch: number, end: number): Command => ({
    type: "part",
    epoch,
    division: [{ clips: [{ start: 0, end }] }],
    part: 0,
    shape: [1, end, 1, 1],
    step: 0,
    slots: new Map([["sample", new Float32Array(end)]]),
  });
  const ready = nextReport();
  link.send({ type: "job", job: undefined });
  await ready;
  link.send(part(1, 2));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const second = nextReport();
  link.send(part(2, 3));
  await second;
  expect(stepped).toEqual([2]);
  link.send({ type: "end" });
  await ended;
  link.close();
});
