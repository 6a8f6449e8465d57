// `--host chromium`: the same jobs in the page of `weft serve`, inside headless Chromium. The page computes and encodes;
// plans are made and files are written here, as on the other host.

import { writeFile } from "node:fs/promises";
import { WebGPUUnavailableError } from "../errors.ts";
import type {
  ScriptedEvent,
  ScriptedRequest,
  ScriptedTabs,
  ScriptedTensor,
} from "../parallel/scripted_protocol.ts";
import { Trace } from "../parallel/trace.ts";
import type { DumpSink } from "../pipelines/dump.ts";
import type { EngineDescription } from "../pipelines/engine.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import { type ModelFiles, openModel } from "../pipelines/model_files.ts";
import { createNodeFfmpeg } from "../video/ffmpeg_node.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { ChromiumPage } from "./chromium_page.ts";
import { engineOf } from "./engine_option.ts";
import { fileMetadata } from "./render_file.ts";
import type { JobResult } from "./render_job.ts";
import { type JobPlan, modelSource } from "./render_plan.ts";
import { arithmeticOf, type RenderRequest, type WorkersWish } from "./render_request.ts";
import type { RunHost } from "./render_run.ts";
import { SideFiles } from "./side_files.ts";
import { wordsFor, wordsForReport } from "./workers_words.ts";

/** Reads the model's files; the browser starts when all jobs have turned out to be possible. */
export async function openChromiumHost(request: RenderRequest, signal: AbortSignal): Promise<RunHost> {
  const files = await openModel(modelSource(request.run.model), signal);
  return new ChromiumHost(request, files, signal);
}

/** Who hears what the page tells of a render. */
interface Listener {
  readonly onEvent: (event: PipelineEvent) => void;
  readonly sink: DumpSink;
}

class ChromiumHost implements RunHost {
  readonly files: ModelFiles;
  readonly #request: RenderRequest;
  readonly #signal: AbortSignal;
  readonly #ffmpeg = createNodeFfmpeg(); // encodes previews only
  readonly #trace = new Trace();
  #page: ChromiumPage | undefined;
  #compute: EngineDescription | undefined;
  #listener: Listener | undefined;

  constructor(request: RenderRequest, files: ModelFiles, signal: AbortSignal) {
    this.#request = request;
    this.files = files;
    this.#signal = signal;
  }

  async begin(): Promise<void> {
    const { run } = this.#request;
    const { model, vae, weights, maxMemory, profile, tabs } = run;
    const engine = engineOf(run.engine, run);
    const listeners = {
      onWeftEvent: (event: ScriptedEvent) => this.#hear(event),
      onWeftTensor: (tensor: ScriptedTensor) => this.#listener?.sink({ ...tensor, data: numbersOf(tensor) }),
    };
    const signal = this.#signal;
    this.#page = await ChromiumPage.open({ model, vae, engine, isTimed: profile, listeners, signal });
    const { gpu, compute } = await this.#page.call("describe");
    if (compute === undefined)
      throw new WebGPUUnavailableError(gpu.available ? "No engine works here." : gpu.reason);
    this.#compute = compute;
    const held = { weights, maxMemory, profile, arithmetic: arithmeticOf(this.#request) };
    await this.#page.call("load", { ...this.#page.addresses, ...held });
    if (tabs) await this.#page.call("openTabs", tabsOf(tabs));
  }

  async render(plan: JobPlan, tell: (event: PipelineEvent) => void): Promise<JobResult> {
    const { preview } = this.#request.run;
    const besides = new SideFiles(plan, { ffmpeg: this.#ffmpeg, preview, signal: this.#signal });
    const onEvent = (event: PipelineEvent): void => {
      besides.onEvent(event);
      // The page resolves the same settings, and has the same to say of them.
      if (event.type !== "notice" || !plan.notices.includes(event.message)) tell(event);
    };
    this.#listener = { onEvent, sink: besides.sink };
    try {
      return await this.#renderAndWrite(plan, besides, tell);
    } finally {
      await besides.close();
    }
  }

  async #renderAndWrite(
    plan: JobPlan,
    besides: SideFiles,
    tell: (event: PipelineEvent) => void,
  ): Promise<JobResult> {
    const { attention, output } = plan;
    const { page, compute } = this.#begun();
    const rendered = await page.call("render", pageRequest(plan, this.#request.run.preview));
    const { settings, seconds, workers, file } = rendered;
    if (workers) tell({ type: "notice", message: wordsForReport(workers) });
    await besides.finishPreview();
    const outputBytes =
      output && (await writeFileAtomically(output.path, [Buffer.from(file, "base64")], this.#signal));
    await besides.writeDump(fileMetadata(plan, { files: this.files, engine: compute }));
    const files = { output: output?.path, outputBytes, ...besides.paths };
    return { settings, attention, seconds: { ...seconds.stages, total: seconds.total }, ...files, workers };
  }

  async report(): ReturnType<RunHost["report"]> {
    const { page, compute } = this.#begun();
    return { compute, device: await page.call("deviceUse") };
  }

  async close(): Promise<void> {
    this.#ffmpeg.dispose();
    await this.#page?.close();
    const { trace } = this.#request.run;
    if (trace !== undefined) await writeFile(trace, this.#trace.toJson());
  }

  #begun(): { readonly page: ChromiumPage; readonly compute: EngineDescription } {
    if (this.#page && this.#compute) return { page: this.#page, compute: this.#compute };
    throw new Error("The page is not open: call begin first.");
  }

  #hear(event: ScriptedEvent): void {
    if (event.type === "workers") this.#trace.add(event.event);
    const told = pipelineEvent(event);
    if (told) this.#listener?.onEvent(told);
  }
}

/** The page is one of the tabs, and opens the others. */
function tabsOf({ count, payload, guidanceWorkers }: WorkersWish): ScriptedTabs {
  return { count: count - 1, payload, guidanceWorkers };
}

/** A plan in the page's words. What a file decided here is sent as it is: noise, attention, heads. */
function pageRequest(plan: JobPlan, preview: boolean): ScriptedRequest {
  const { options, settings, attention, noise, output, dump } = plan;
  const { seed, attention: attentionPlan } = settings;
  return {
    ...options,
    seed,
    attention: attentionPlan,
    attentionName: attention?.name,
    format: output?.format,
    crf: output?.crf,
    preview,
    noise: noise && { ...noise, data: base64Of(noise.data) },
    dump,
  };
}

/** What the page tells, as this process would. */
function pipelineEvent(event: ScriptedEvent): PipelineEvent | undefined {
  if (event.type === "workers") {
    const message = wordsFor(event.event);
    return message === undefined ? undefined : { type: "notice", message };
  }
  if (event.type === "download") {
    return { type: "progress", stage: "load", done: event.done, total: event.total, unit: "bytes" };
  }
  if (event.type !== "preview") return event;
  return { ...event, frames: event.frames.map((frame) => new Uint8Array(Buffer.from(frame, "base64"))) };
}

function base64Of({ buffer, byteOffset, byteLength }: Float32Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
}

function numbersOf({ dtype, data }: ScriptedTensor): Float32Array | Int32Array {
  const { buffer } = new Uint8Array(Buffer.from(data, "base64")); // a copy, so that it begins where a number may
  return dtype === "i32" ? new Int32Array(buffer) : new Float32Array(buffer);
}
