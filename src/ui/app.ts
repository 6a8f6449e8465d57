// The page: what happens between the visitor, the worker and the views.
import type { RenderCall } from "../parallel/render_endpoint.ts";
import type { ModelSummary, RenderResult, ServiceEvent, UnfinishedJob } from "../parallel/render_protocol.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { showCapability } from "./capability_view.ts";
import { chooseAttention } from "./attention_choice.ts";
import { createAttentionView } from "./attention_view.ts";
import { explainError } from "./explain_error.ts";
import { type FinishedVideo, keepResult } from "./finished_video.ts";
import { type FormValues, presetsOf, toRequest, valuesOfRequest } from "./form_values.ts";
import { createGuidanceView } from "./guidance_view.ts";
import { createHistory } from "./history_view.ts";
import { createMessages } from "./messages.ts";
import { showModel, showModelError } from "./model_view.ts";
import { ProgressView } from "./progress_view.ts";
import { forgetJob, jobBeforeReload, rememberJob } from "./own_job.ts";
import { createRenderForm } from "./render_form.ts";
import { showOtherTabs } from "./other_tabs_view.ts";
import { PageCrew, PAYLOADS } from "./page_crew.ts";
import type { RenderHost } from "./render_host.ts";
import { hideResult, showResult } from "./result_view.ts";
import { createScreen } from "./screen.ts";
import { hideUnfinished, showUnfinished } from "./unfinished_view.ts";
import { WorkersView } from "./workers_view.ts";
import { scaleSeconds, type StageSeconds, type Work } from "./time_left.ts";

/** What the page needs from outside. */
export interface AppOptions {
  readonly host: RenderHost;
  readonly modelUrl: string;
  readonly query: URLSearchParams;
}

/** Starts the page. */
export async function startApp(options: AppOptions): Promise<void> {
  await new App(options).start();
}

class App {
  readonly #options: AppOptions;
  readonly #messages = createMessages();
  readonly #screen = createScreen();
  readonly #progress = new ProgressView();
  readonly #history = createHistory((video) => this.#open(video));
  readonly #form = createRenderForm({
    onGenerate: () => void this.#generate(),
    onCancel: () => this.#cancel(),
    onChange: (values) => this.#showChoices(values),
  });
  readonly #guidance = createGuidanceView();
  readonly #attention = createAttentionView();
  readonly #workers = new WorkersView((sentence) => this.#messages.error(sentence));
  #crew: PageCrew | undefined;
  #numBusyTabs = 0;
  #summary: ModelSummary | undefined;
  #abort: AbortController | undefined;
  #shown: FinishedVideo | undefined;
  /** Stays beside whatever is shown. */
  #beside: FinishedVideo | undefined;
  #last: { readonly work: Work; readonly seconds: StageSeconds } | undefined;

  constructor(options: AppOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { host, modelUrl, query } = this.#options;
    try {
      const description = await host.describe();
      showCapability(description);
      if (description.compute === undefined) {
        this.#screen.empty("This browser cannot make videos so.");
        if (!description.gpu.available) this.#messages.error(description.gpu.reason);
        showModelError("Not opened, as there is nothing to run it on.");
        return;
      }
      this.#crew = await this.#openCrew();
      this.#summary = await host.load({ model: modelUrl }, (event) => this.#see(event));
      await this.#showModel();
      this.#form.setModel(this.#summary, presetsOf(query));
      this.#form.setState("ready");
      await this.#offerUnfinished(jobBeforeReload());
    } catch (error) {
      const sentence = explainError(error) ?? "The page was stopped while it started: reload it.";
      showModelError("Not opened.");
      this.#messages.error(sentence);
    }
  }

  async #generate(): Promise<void> {
    const values = this.#form.read();
    const jobId = crypto.randomUUID();
    rememberJob(jobId);
    const job = { id: jobId, isWhole: true };
    await this.#run(values, job, (call) =>
      this.#options.host.render(this.#request(values), { ...call, jobId }),
    );
  }

  /** Shows what can be gone on with; the job `own` is gone on with at once. */
  async #offerUnfinished(own?: string): Promise<void> {
    const { host, modelUrl } = this.#options;
    const all = await host.unfinished((event) => this.#see(event));
    const jobs = all.filter((job) => job.modelUrl === modelUrl);
    const cutOff = jobs.find(({ id, isRunning }) => id === own && !isRunning);
    if (cutOff) return await this.#resume(cutOff);
    showUnfinished(jobs, {
      onResume: (job) => void this.#resume(job).catch(this.#report),
      onDiscard: (job) => void this.#discard(job).catch(this.#report),
    });
  }

  async #resume(job: UnfinishedJob): Promise<void> {
    if (this.#summary === undefined) return;
    this.#form.fill(valuesOfRequest(job.request, this.#summary.settings));
    rememberJob(job.id);
    await this.#run(this.#form.read(), { id: job.id, isWhole: false }, (call) =>
      this.#options.host.resume(job.id, call),
    );
  }

  async #discard({ id }: UnfinishedJob): Promise<void> {
    await this.#options.host.forget(id);
    await this.#offerUnfinished();
  }

  /** `isWhole`: all steps are taken here, so that it tells how long a render takes. */
  async #run(
    values: FormValues,
    { id, isWhole }: { readonly id: string; readonly isWhole: boolean },
    call: (options: RenderCall) => Promise<RenderResult>,
  ): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.#messages.clear();
    hideUnfinished();
    this.#form.setState("rendering");
    this.#screen.setShape(values.width, values.height);
    this.#screen.empty("Threading the loom…");
    hideResult();
    this.#progress.begin(this.#expected(values));
    this.#workers.begin(values.numFrames);
    const crew = this.#crew?.begin({ id, prompt: values.prompt });
    this.#showTabs();
    let ending = "The render was cancelled.";
    try {
      const onEvent = (event: ServiceEvent): void => {
        if (!abort.signal.aborted) this.#see(event);
      };
      const result = await call({ signal: abort.signal, onEvent, crew });
      if (isWhole) this.#last = { work: workOf(result.settings), seconds: result.seconds.stages };
      this.#finish(result, values.attention);
      ending = "The video is finished.";
    } catch (error) {
      const sentence = explainError(error);
      if (sentence !== undefined) {
        ending = "";
        this.#messages.error(sentence);
      }
      this.#showPrevious(sentence === undefined ? "Cancelled." : "No video this time.");
    } finally {
      this.#abort = undefined;
      forgetJob();
      this.#crew?.end();
      this.#showTabs();
      this.#progress.end(ending);
      await this.#refreshModel();
      this.#form.setState("ready");
      await this.#offerUnfinished().catch(this.#report);
    }
  }

  /** Undefined where the browser has no Web Locks, which means an insecure context: this tab then stays alone. */
  async #openCrew(): Promise<PageCrew | undefined> {
    if (!("locks" in navigator)) return undefined;
    const { host, query } = this.#options;
    const crew = await PageCrew.open({
      host,
      engine: query.get("engine") ?? undefined,
      payload: PAYLOADS.find((type) => type === query.get("exchange")),
      onChange: () => {
        this.#workers.refresh();
        this.#showTabs();
        this.#noteBusyTabs();
      },
      onProblem: this.#report,
    });
    this.#workers.attach(crew);
    return crew;
  }

  /** A tab that has ended in the middle of a render leaves it to the others. */
  #noteBusyTabs(): void {
    const numBusy = this.#crew?.busyTabs.length ?? 0;
    if (numBusy < this.#numBusyTabs && !this.#abort) void this.#offerUnfinished().catch(this.#report);
    this.#numBusyTabs = numBusy;
  }

  #showTabs(): void {
    showOtherTabs(this.#abort === undefined ? (this.#crew?.busyTabs ?? []) : []);
  }

  #request(values: FormValues): ReturnType<typeof toRequest> {
    const attention = this.#summary && chooseAttention(values, this.#summary).requested;
    const named = attention && { attention, attentionName: values.attention };
    return { ...toRequest(values), keep: true, ...named };
  }

  #showChoices(values: FormValues): void {
    if (this.#summary === undefined) return;
    this.#guidance.show(values, this.#summary);
    try {
      this.#attention.show(chooseAttention(values, this.#summary));
    } catch (error) {
      this.#attention.show(explainError(error) ?? "");
    }
  }

  #cancel(): void {
    if (this.#abort === undefined || this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.#progress.stopping();
  }

  #see(event: ServiceEvent): void {
    this.#progress.see(event);
    if (event.type === "workers") this.#workers.see(event.event);
    if (event.type === "progress" && event.stage === "denoise") {
      this.#workers.setSteps(event.total);
      this.#crew?.announce(Math.floor(event.done), event.total);
    }
    if (event.type === "notice") this.#messages.notice(event.message);
    if (event.type === "preview") {
      this.#screen.preview(event, {
        fps: this.#form.read().fps,
        label: `Preview · step ${event.step} of ${event.steps}`,
      });
    }
  }

  #finish(result: RenderResult, attention: string): void {
    const video = keepResult(result, attention);
    this.#history.add(video);
    this.#open(video);
  }

  #open(video: FinishedVideo): void {
    this.#shown = video;
    const onUnplayable = (): void =>
      this.#messages.notice(
        "This browser has no decoder for this file: download it to play it elsewhere, or choose another file type.",
      );
    const beside = this.#beside;
    if (beside && beside !== video) this.#screen.compare([beside, video], onUnplayable);
    else this.#screen.play(video, onUnplayable);
    const restore = (): void => this.#form.restore(video.settings, video.attention);
    const onCompare = (): void => {
      this.#beside = beside ? undefined : video;
      if (!beside) restore();
      this.#open(video);
      if (!beside)
        this.#messages.notice("Change a setting and generate: the two videos will play side by side.");
    };
    showResult(video, { onAgain: restore, onCompare, isCompared: beside !== undefined });
  }

  #showPrevious(message: string): void {
    if (this.#shown === undefined) this.#screen.empty(message);
    else this.#open(this.#shown);
  }

  #expected(values: FormValues): StageSeconds {
    if (this.#last === undefined) return {};
    const fewsteps = (this.#summary?.settings.fewstep?.sigmas.length ?? 1) - 1;
    const [steps, passes] = values.variant === "fewstep" ? [fewsteps, 1] : [values.numInferenceSteps, 2];
    const all = steps * (passes + (values.softpag > 0 ? 1 : 0));
    const to = { pixels: values.numFrames * values.width * values.height, steps: all };
    return scaleSeconds(this.#last.seconds, this.#last.work, to);
  }

  async #refreshModel(): Promise<void> {
    const { host, modelUrl } = this.#options;
    try {
      this.#summary = await host.load({ model: modelUrl });
      await this.#showModel();
    } catch (error) {
      showModelError(explainError(error) ?? "Not opened.");
    }
  }

  async #showModel(): Promise<void> {
    if (this.#summary === undefined) return;
    const { host } = this.#options;
    const cachedBytes = await host.cachedBytes();
    const onRemove = (): void => void host.purgeCache().then(() => this.#refreshModel(), this.#report);
    showModel(this.#summary, { cachedBytes, onRemove });
  }

  readonly #report = (error: unknown): void => {
    const sentence = explainError(error);
    if (sentence !== undefined) this.#messages.error(sentence);
  };
}

/** Every kind of guidance is one more run of the model a step. */
function workOf({ numFrames, width, height, ...sampling }: RenderSettings): Work {
  const { numInferenceSteps, guidanceScale, perturbedGuidance } = sampling;
  const passes = 1 + (guidanceScale > 1 ? 1 : 0) + (perturbedGuidance ? 1 : 0);
  return { pixels: numFrames * width * height, steps: numInferenceSteps * passes };
}
