// `--host chromium`: the same jobs in the page of `weft serve`, inside headless Chromium. The page offers itself to
// scripts as `globalThis.weft` under the address "#scripted"; this file drives it and writes what comes back.

import { writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import type { Browser, Page } from "playwright-core";
import { GpuOutOfMemoryError, InputError, WebGPUUnavailableError, WeightsError } from "../errors.ts";
import type {
  RenderRequest,
  RenderResult,
  ServiceDescription,
  ServiceEvent,
} from "../parallel/render_protocol.ts";
import type { DivisionWish } from "../parallel/render_division.ts";
import { Trace } from "../parallel/trace.ts";
import { openModel } from "../pipelines/model_files.ts";
import type { EngineDescription } from "../pipelines/engine.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { launchChromium } from "./chromium_node.ts";
import { jsonReport } from "./json_report.ts";
import { packagePath, VERSION } from "./package_files.ts";
import { createProgressLine, type ProgressLine } from "./progress_line.ts";
import type { JobResult } from "./render_job.ts";
import { guidanceOptions } from "./guidance_option.ts";
import { isUrl, type JobPlan, modelSource, planJobs } from "./render_plan.ts";
import {
  type RenderJob,
  renderOptionsOf,
  type RenderRequest as CliRequest,
  type WorkersWish,
} from "./render_request.ts";
import { announce, printPaths, summary } from "./run_messages.ts";
import { listen, serverUrl } from "./serve_command.ts";
import { createStaticServer } from "./static_server.ts";
import { wordsFor, wordsForReport } from "./workers_words.ts";

const ADDRESS = "127.0.0.1";
const MODEL_PATH = "/model/";

/** The page's answer; errors lose their class on the way, so they travel as data. */
type Answer =
  | { readonly ok: true; readonly result: ScriptedResult }
  | { readonly ok: false; readonly name: string; readonly message: string };

type ScriptedResult = Omit<RenderResult, "file" | "contactSheet"> & { readonly file: string };

/** What the page puts on its globalThis (src/ui/scripted.ts). */
interface ScriptedWeft {
  describe(): Promise<ServiceDescription>;
  render(request: Omit<RenderRequest, "jobId"> & { readonly modelUrl: string }): Promise<ScriptedResult>;
  openTabs(tabs: DivisionWish & { readonly count: number }): Promise<void>;
}

declare const weft: ScriptedWeft;

/** Renders every job of the request in one page. Throws like `runRender`. */
export async function runInChromium(request: CliRequest, signal: AbortSignal): Promise<void> {
  refuseNodeOptions(request);
  const { run, jobs } = request;
  const progress = createProgressLine(process.stderr, { quiet: run.quiet });
  const plans = await planJobs(request, await openModel(modelSource(run.model), signal), signal);
  const host = await openPage(run, signal);
  const trace = new Trace();
  try {
    await host.page.exposeFunction("onWeftEvent", (event: ServiceEvent) => {
      if (event.type === "workers") trace.add(event.event);
      showEvent(event, progress);
    });
    const { gpu, compute } = await host.page.evaluate(() => weft.describe());
    if (compute === undefined)
      throw new WebGPUUnavailableError(gpu.available ? "No engine works here." : gpu.reason);
    if (run.tabs) await openTabs(host, run.tabs, signal);
    const results: JobResult[] = [];
    let modelHash: string | undefined;
    for (const [index, plan] of plans.entries()) {
      announce(plan.settings.prompt, { index, count: plans.length, progress });
      const job = jobs[index];
      if (job === undefined || plan.output === undefined) continue; // every plan has both: nothing is dumped here
      const { path, format, crf } = plan.output;
      const guidance = await guidanceOptions(job, modelSource(run.model));
      const options = { ...renderOptionsOf(job), ...guidance, ...attentionOptions(job, plan) };
      const asked = { ...options, seed: plan.settings.seed, format, crf };
      const rendered = await renderInPage(host, asked, signal);
      modelHash = rendered.modelHash;
      const result = await writeResult(rendered, { path, attention: plan.attention }, signal);
      results.push(result);
      progress.end();
      if (result.workers) progress.say(wordsForReport(result.workers));
      progress.say(summary(result));
      if (!run.json) printPaths(result);
    }
    if (run.json) printReport(results, { compute, location: run.model, modelHash });
  } finally {
    progress.end();
    await host.close();
    if (run.trace !== undefined) await writeFile(run.trace, trace.toJson());
  }
}

function printReport(results: readonly JobResult[], { compute, location, modelHash }: PageFacts): void {
  const report = jsonReport({
    version: VERSION,
    compute,
    model: { location, hash: modelHash },
    bytes: { weights: null, peakGpu: null },
    results,
    profile: undefined,
  });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}

interface PageFacts {
  readonly compute: EngineDescription;
  readonly location: string;
  readonly modelHash: string | undefined;
}

/** Options that only the other host has. */
function refuseNodeOptions({ run, jobs }: CliRequest): void {
  const { vae, weights, arithmetic, maxMemory } = run;
  const given: Record<string, unknown> = {
    "--vae": vae,
    "--weights": weights,
    "--arithmetic": arithmetic,
    "--max-memory": maxMemory,
    "--workers": run.workers,
    "--trace": run.tabs ? undefined : run.trace,
    "--preview": run.preview || undefined,
    "--profile": run.profile || undefined,
    "--noise": jobs.find(({ noise }) => noise)?.noise,
    "--dump": jobs.find(({ dump }) => dump)?.dump,
  };
  const refused = Object.keys(given).filter((name) => given[name] !== undefined);
  if (refused.length > 0) throw new InputError(`${refused.join(", ")} cannot be used with --host chromium.`);
}

/** The page is one of the tabs, and opens the others. */
async function openTabs(
  { page }: PageHost,
  { count, payload, guidanceWorkers }: WorkersWish,
  signal: AbortSignal,
): Promise<void> {
  try {
    await page.evaluate((tabs) => weft.openTabs(tabs), { count: count - 1, payload, guidanceWorkers });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

interface PageHost {
  readonly page: Page;
  readonly modelUrl: string;
  close(): Promise<void>;
}

/** Serves page and model, and opens the page. An abort closes the browser, which ends whatever waits for it. */
async function openPage({ model, engine }: CliRequest["run"], signal: AbortSignal): Promise<PageHost> {
  const server = await servePageAndModel(model);
  let browser: Browser | undefined;
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", onAbort);
    await browser?.close();
    server.close();
    server.closeAllConnections();
  };
  const onAbort = (): void => void browser?.close();
  signal.addEventListener("abort", onAbort);
  try {
    browser = await launchChromium();
    signal.throwIfAborted();
    const page = await browser.newPage();
    page.setDefaultTimeout(0); // a render takes as long as it takes
    await page.goto(`${serverUrl(server, ADDRESS)}?engine=${engine}#scripted`);
    await page.waitForFunction(() => "weft" in globalThis);
    return { page, modelUrl: isUrl(model) ? model : MODEL_PATH, close };
  } catch (error) {
    await close();
    signal.throwIfAborted();
    throw error;
  }
}

async function servePageAndModel(model: string): Promise<Server> {
  const folders = { "/": packagePath("dist", "page"), ...(isUrl(model) ? {} : { [MODEL_PATH]: model }) };
  return await listen(createStaticServer(folders), { host: ADDRESS, port: 0 });
}

/** An attention plan that was asked for; the one for long videos is the page's to choose. */
function attentionOptions(
  { attention }: RenderJob,
  { settings }: JobPlan,
): Pick<PageRequest, "attention" | "attentionName"> {
  return attention === undefined ? {} : { attention: settings.attention, attentionName: attention };
}

type PageRequest = Omit<RenderRequest, "jobId">;

async function renderInPage(
  { page, modelUrl }: PageHost,
  options: PageRequest,
  signal: AbortSignal,
): Promise<ScriptedResult> {
  const request = { ...options, modelUrl };
  let answer: Answer;
  try {
    answer = await page.evaluate(
      (asked): Promise<Answer> =>
        weft.render(asked).then(
          (result) => ({ ok: true as const, result }),
          ({ name, message }: Error) => ({ ok: false as const, name, message }),
        ),
      request,
    );
  } catch (error) {
    signal.throwIfAborted();
    throw new Error("The browser ended before the video was done; it may have run out of memory.", {
      cause: error,
    });
  }
  if (!answer.ok) throw restoreError(answer);
  return answer.result;
}

const ERROR_CLASSES = { InputError, WeightsError, GpuOutOfMemoryError, WebGPUUnavailableError } as const;

function restoreError({ name, message }: { name: string; message: string }): Error {
  if (!Object.hasOwn(ERROR_CLASSES, name)) return new Error(message);
  return new ERROR_CLASSES[name as keyof typeof ERROR_CLASSES](message);
}

async function writeResult(
  { file, settings, seconds, workers }: ScriptedResult,
  { path, attention }: { readonly path: string; readonly attention: JobPlan["attention"] },
  signal: AbortSignal,
): Promise<JobResult> {
  const outputBytes = await writeFileAtomically(path, [Buffer.from(file, "base64")], signal);
  const stages = { ...seconds.stages, total: seconds.total };
  const others = { attention, dump: undefined, preview: undefined, workers };
  return { settings, seconds: stages, output: path, outputBytes, ...others };
}

function showEvent(event: ServiceEvent, progress: ProgressLine): void {
  if (event.type === "workers") {
    const message = wordsFor(event.event);
    if (message !== undefined) progress.onEvent({ type: "notice", message });
    return;
  }
  if (event.type !== "download") return progress.onEvent(event);
  const { done, total } = event;
  progress.onEvent({ type: "progress", stage: "load", done, total, unit: "bytes" });
}
