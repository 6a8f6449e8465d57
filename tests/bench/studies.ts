// Studies: benches with arguments of their own, which answer a question rather than time a kernel.
import { studyBorders } from "./borders.ts";
import { benchClips } from "./clips/main.ts";
import { benchLink, linkPeer } from "./clips/link.ts";
import { holdMemory, probePins } from "./clips/pins.ts";
import { studyScaling } from "./clips/scaling_study.ts";
import { clipWorker } from "./clips/worker.ts";
import { guidance } from "./guidance/main.ts";
import { longVideos } from "./long_video.ts";
import { studyRestarts } from "./restarts.ts";
import { searchedMasks } from "./searched.ts";
import { staleKeysStudy } from "./stale.ts";

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
    usage: "time|quality|memory|merge [out=DIR] [processes=14] [cards=0,1] [seconds=200] [engine=onnx]",
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
    usage: "study out=DIR [phases=search,table,rounds,times] [seconds=300] [cards=0,1] …, or steps cpu|gpu",
    description: "what guidance by heads does to videos, and what a guided step costs (guidance/main.ts)",
    run: guidance,
  },
  {
    name: "clips",
    usage:
      "[workers=1,2] [cases=PLAN+PLAN@guided] [payload=f16|int8|f32] [frames=81] [steps=5] [pin=PIN] [limit=240] [profile=1] [trace=FILE]",
    description: "denoising steps of the 1.3B transformer shared by several cards (clips/main.ts)",
    run: benchClips,
  },
  {
    name: "scaling",
    usage:
      "[workers=2,4,8] [cases=PLAN+PLAN] [gbs=1.08,4,8] [payload=f16|int8] [full=1.40] [dual=0.91] [json=FILE]",
    description: "what more cards would bring to the 1.3B transformer, on paper (clips/scaling_study.ts)",
    run: studyScaling,
  },
  {
    name: "link",
    usage: "[mb=45,11] [rounds=20] [json=FILE]",
    description:
      "how fast one process hands another large arrays, beside fresh files each time (clips/link.ts)",
    run: benchLink,
  },
  {
    name: "borders",
    usage: "out=DIR [workers=4] [frames=49] [prompts=8] [seconds=600] [options of weft render]",
    description: "whether the borders of clips show in what several workers render (borders.ts)",
    run: studyBorders,
  },
  {
    name: "restarts",
    usage: "[variant=student|base] [frames=33] [attention=full|long] [steps=0,1,2,3] [prompts=4] [every=1] …",
    description: "how often attention on matrix units would start again in weft-nano (restarts.ts)",
    run: studyRestarts,
  },
  {
    name: "pins",
    usage: "[PIN...]",
    description: "ways to pin a process to one of several equal cards (clips/pins.ts)",
    run: probePins,
  },
  {
    name: "stale",
    usage: "[after=1,2,4,8] [steps=30] [frames=33] [workers=2] [seconds=600]",
    description: "what keys of the step before cost in exactness, on the CPU (stale.ts)",
    run: staleKeysStudy,
  },
  { name: "link-peer", usage: "", description: "one process of link", isHidden: true, run: linkPeer },
  { name: "clip-worker", usage: "", description: "one worker of clips", isHidden: true, run: clipWorker },
  { name: "pin-probe", usage: "", description: "one process of pins", isHidden: true, run: holdMemory },
];
