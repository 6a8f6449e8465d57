// What more cards would bring, on paper (scaling.ts):
//   node bench.mjs scaling [workers=2,4,8] [cases=full+dual-scope:3,4+tile:4] [gbs=1.08,4,8] [payload=f16]
//     [full=1.23] [dual=0.78] [latency=1] [copy=45] [tflops=230] [json=FILE]
// `full` and `dual` are one H200's seconds a step of the 1.3B shape with full attention and with dual-scope:3,4 (81 frames,
// 480 x 832; BENCHMARKS.md), 1.08 GB/s the link before parcels were used again. The rest is assumed.
import { writeFileSync } from "node:fs";
import { full } from "../../../src/attention/plan_constructors.ts";
import { framePairs } from "../../../src/parallel/frame_pairs.ts";
import { WAN_1_3B } from "../random_checkpoint.ts";
import { parseCase, parsePayload } from "./cases.ts";
import { cardSpeed, scaling, type ScalingInputs } from "./scaling.ts";

const SIZE = { numFrames: 21, tokensPerFrame: 1560 };
const MEASURED_PLAN = "dual-scope:3,4";
/** Video-Infinity's communication (2406.16260): what it adds to the time without any, on 2 and on 8 A5000. */
const VIDEO_INFINITY = "25.3 % on 2 cards and 28.6 % on 8";

/** Prints a table. */
export async function studyScaling(args: readonly string[]): Promise<void> {
  const options = new Map(args.map((arg) => arg.split("=", 2) as [string, string]));
  const number = (name: string, otherwise: number): number => Number(options.get(name) ?? otherwise);
  const numbers = (name: string, otherwise: string): number[] =>
    (options.get(name) ?? otherwise).split(",").map(Number);
  const config = WAN_1_3B;
  const pairsOf = (name: string): number => {
    const plan = name === "full" ? full() : parseCase(name, 1).plan;
    const size = { ...SIZE, heads: config.num_attention_heads, layers: config.num_layers };
    return framePairs(plan, size).reduce((sum, each) => sum + each, 0);
  };
  const speed = cardSpeed(
    { pairs: pairsOf("full"), seconds: number("full", 1.23) },
    { pairs: pairsOf(MEASURED_PLAN), seconds: number("dual", 0.78) },
    SIZE.numFrames,
  );
  const rows = numbers("gbs", "1.08,4,8").flatMap((linkGbs) => {
    const inputs: ScalingInputs = {
      config,
      ...SIZE,
      speed,
      linkGbs,
      latencyMs: number("latency", 1),
      copyGbs: number("copy", 45),
      teraflops: number("tflops", 230),
      payload: parsePayload(options.get("payload") ?? "f16"),
    };
    return (options.get("cases") ?? `full+${MEASURED_PLAN}+tile:4`).split("+").flatMap((name) =>
      numbers("workers", "2,4,8").map((workers) => {
        const row = scaling(parseCase(name, 1).plan, workers, inputs);
        const short = Object.entries(row).map(([key, value]) => [key, Number(value.toPrecision(3))]);
        return { case: name, linkGbs, ...Object.fromEntries(short) };
      }),
    );
  });
  console.table(rows);
  console.log(`Video-Infinity's communication overhead: ${VIDEO_INFINITY}.`);
  const json = options.get("json");
  if (json) writeFileSync(json, JSON.stringify({ speed, rows }, null, 1));
}
