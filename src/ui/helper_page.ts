// The page of a tab that computes for another one: finds it, helps with its videos one after the other, and finds it again
// when it was reloaded. A tab that the browser freezes leaves first, so that nobody waits for it.
import type { HelperEvent } from "../parallel/helper_service.ts";
import { connectToBroker } from "../parallel/port_broker.ts";
import { Presence } from "../parallel/presence.ts";
import { portToOpener } from "../parallel/tab_port.ts";
import { visit, type VisitJob } from "../parallel/visit.ts";
import { tabLock, whenUnlocked } from "../parallel/web_lock.ts";
import { openBroker } from "./broker.ts";
import { byId } from "./dom.ts";
import { explainError } from "./explain_error.ts";
import { framesOfClip } from "./frame_numbers.ts";
import { HelperThread } from "./helper_thread.ts";

/** Whom to help, and with what. */
export interface HelperPageOptions {
  readonly tab: string;
  /** Without one somebody there has to let this tab in. */
  readonly invitation: string | undefined;
  readonly engine: string | undefined;
}

/** A host that has not answered for this long was not listening yet. */
const ANSWER_MS = 5000;

/** Turns the page into one that helps. */
export async function startHelperPage(options: HelperPageOptions): Promise<void> {
  await new HelperPage(options).start();
}

class HelperPage {
  readonly #options: HelperPageOptions;
  readonly #stateLine = byId("helper-state", HTMLParagraphElement);
  readonly #workLine = byId("helper-work", HTMLParagraphElement);
  readonly #deviceLine = byId("helper-device", HTMLParagraphElement);
  readonly #presence: Presence;
  #thread: HelperThread | undefined;
  /** Aborted when the host is gone, or this tab leaves; undefined while it is not connected. */
  #visit: AbortController | undefined;
  #name = "a tab";

  constructor(options: HelperPageOptions) {
    this.#options = options;
    this.#presence = new Presence({
      onChange: (tabs) => {
        if (tabs.some(({ tab }) => tab === options.tab)) void this.#connect();
      },
    });
  }

  async start(): Promise<void> {
    document.title = `Helper · ${document.title}`;
    byId("helper", HTMLElement).hidden = false;
    for (const part of document.querySelectorAll<HTMLElement>(".workbench, .history")) part.hidden = true;
    const leave = byId("helper-leave", HTMLAnchorElement);
    leave.href = location.pathname + location.search;
    byId("helper-stop", HTMLButtonElement).addEventListener("click", () => this.#stop());
    document.addEventListener("freeze", () => this.#leave("The browser froze this tab."));
    document.addEventListener("resume", () => void this.#begin());
    await this.#begin();
  }

  /** Starts the thread that computes; the connection follows when the host says that it is there. */
  async #begin(): Promise<void> {
    this.#say("Looking for the tab that makes videos…");
    const thread = await HelperThread.start(this.#options.engine);
    this.#thread = thread;
    try {
      this.#deviceLine.textContent = `Computes on ${await thread.describe()}.`;
      this.#presence.ask();
    } catch (error) {
      this.#leave(explainError(error) ?? "There is nothing to compute with here.");
    }
  }

  async #connect(): Promise<void> {
    const { tab, invitation } = this.#options;
    const thread = this.#thread;
    if (thread === undefined || this.#visit !== undefined) return;
    const visiting = new AbortController();
    this.#visit = visiting;
    const port = portToOpener(tab) ?? (await this.#portFromBroker());
    if (port === undefined) return this.#retry(visiting);
    const unanswered = setTimeout(() => this.#retry(visiting), ANSWER_MS);
    const answered = (sentence: string): void => {
      clearTimeout(unanswered);
      this.#say(sentence);
    };
    visit(
      port,
      { invitation, lock: thread.lock },
      {
        onAsked: () => answered("Somebody at the other tab has to let this one help: look there."),
        onAdmitted: (name) => {
          this.#name = name;
          answered("Ready: waits for a video to help with.");
        },
        onRefused: (reason) => {
          answered(reason);
          this.#leave(reason);
        },
        onJob: (job) => void this.#help(thread, job),
        onOver: () => void thread.stop(),
      },
    );
    whenUnlocked(tabLock(tab), { signal: visiting.signal }).then(
      () => {
        clearTimeout(unanswered);
        this.#say("The other tab is gone; this one goes on as soon as it is back.");
        this.#retry(visiting);
      },
      () => clearTimeout(unanswered),
    );
  }

  async #help(thread: HelperThread, { token, prompt, clips, segments }: VisitJob): Promise<void> {
    this.#say(`Helps with “${prompt}”.`);
    const call = { token, name: this.#name, hostLock: tabLock(this.#options.tab), clips, segments };
    const work = new WorkWords((words) => (this.#workLine.textContent = words));
    try {
      await thread.help(call, (event) => work.see(event));
      if (this.#visit) this.#say("Ready: waits for a video to help with.");
    } catch (error) {
      this.#say(explainError(error) ?? "Left the video.");
    } finally {
      this.#workLine.textContent = "";
    }
  }

  /** Connects again when the host says that it is there. */
  #retry(visiting: AbortController): void {
    if (this.#visit !== visiting) return;
    visiting.abort();
    this.#visit = undefined;
    this.#presence.ask();
  }

  #stop(): void {
    this.#leave("This tab helps no more.");
    byId("helper-stop", HTMLButtonElement).hidden = true;
  }

  /** Ends the thread, which the host notices at once. */
  #leave(sentence: string): void {
    this.#visit?.abort();
    this.#visit = undefined;
    this.#thread?.end();
    this.#thread = undefined;
    this.#say(sentence);
    this.#workLine.textContent = "";
  }

  async #portFromBroker(): Promise<MessagePort | undefined> {
    const broker = openBroker();
    return broker && (await connectToBroker(broker).join(this.#options.tab));
  }

  #say(sentence: string): void {
    this.#stateLine.textContent = sentence;
  }
}

/** Puts a helper's events into a line. */
class WorkWords {
  readonly #show: (words: string) => void;
  #frames = "";
  #step = "";

  constructor(show: (words: string) => void) {
    this.#show = show;
  }

  see(event: HelperEvent): void {
    switch (event.type) {
      case "opening":
        this.#show("Reading the model…");
        return;
      case "notice":
        return;
      case "clip":
        this.#frames = framesOfClip(event, 4 * (event.of - 1) + 1);
        break;
      case "step":
        this.#step = `step ${event.step} of ${event.numSteps} done`;
        break;
    }
    this.#show([this.#frames, this.#step].filter(Boolean).join(" · "));
  }
}
