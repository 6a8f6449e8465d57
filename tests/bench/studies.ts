// Studies: benches with arguments of their own, which answer a question rather than time a kernel.
import { benchClips, clipWorker } from "./clips.ts";
import { holdMemory, probePins } from "./gpu_pinning.ts";
import { guidance } from "./guidance/main.ts";
import { longVideos } from "./long_video.ts";
import { searchedMasks } from "./searched.ts";

/** A named study. */
export interface Study {
  readonly name: string;
  /** Its arguments; more in the head of its file. */
  readonly usage: string;
  readonly description: string;
  /** Started by another study, not by people. */
  readonly isHidden?: true;
  readonly run: (args: readonly string[]) => Promise<void>;
}

/** All of them. */
export const STUDIES: readonly Study[] = [
  {
    name: "long",
    usage: "time|quality|memory|merge [out=DIR] [parts=12] [seconds=200] [engine=onnx]",
    description: "weft-nano far beyond its trained length, by attention and positions (long_video.ts)",
    run: longVideos,
  },
  {
    name: "searched",
    usage: "out=DIR [engine=onnx] [videos=6] [frames=33] [seconds=60]",
    description: "masks found by a search: density, PSNR, judge, seconds (searched.ts)",
    run: searchedMasks,
  },
  {
    name: "guidance",
    usage:
      "study out=DIR [phases=student,base,coherence,times] [seconds=300] …, or steps cpu|gpu [seconds=90]",
    description: "what guidance by heads does to videos, and what a guided step costs (guidance/main.ts)",
    run: guidance,
  },
  {
    name: "clips",
    usage: "[1,2] [PLAN+PLAN] [f16] [81] [PIN]",
    description: "denoising steps of the 1.3B transformer in clips on several cards (clips.ts)",
    run: async (args) => printTable("clips", await benchClips(args)),
  },
  {
    name: "pins",
    usage: "",
    description: "ways to pin a process to one of several equal cards (gpu_pinning.ts)",
    run: async () => printTable("pins", await probePins()),
  },
  { name: "clip-worker", usage: "", description: "one worker of clips", isHidden: true, run: clipWorker },
  { name: "pin-probe", usage: "", description: "one process of pins", isHidden: true, run: holdMemory },
];

/** For people, and once more as one line of JSON. */
function printTable(title: string, rows: readonly object[]): void {
  console.log(`\n${title}`);
  console.table(rows);
  console.log(JSON.stringify(rows));
}
