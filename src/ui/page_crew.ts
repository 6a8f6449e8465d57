// Everybody who computes for this tab: workers of its own page, tabs that it opened, and tabs that came by themselves and
// were let in. Brings them to every render, and tells the other tabs of it.
import { acceptOpened } from "../parallel/tab_port.ts";
import { type Asking, GuestList } from "../parallel/guest_list.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import { connectToBroker } from "../parallel/port_broker.ts";
import { Presence, type PresentTab } from "../parallel/presence.ts";
import type { CrewWish } from "../parallel/render_crew.ts";
import { tabLock } from "../parallel/web_lock.ts";
import { openBroker } from "./broker.ts";
import { HelperThread } from "./helper_thread.ts";
import type { RenderHost } from "./render_host.ts";
import { invitationHash, takeIdentity, type TabIdentity } from "./tab_identity.ts";

/** What a crew works with and tells. */
export interface PageCrewOptions {
  readonly host: RenderHost;
  /** Engine of own workers and opened tabs; as for `RenderHost`. */
  readonly engine: string | undefined;
  /** How keys and values travel. @default f16 */
  readonly payload?: PayloadType | undefined;
  /** Workers, those who ask, or the other tabs have changed. */
  readonly onChange?: (() => void) | undefined;
  /** A worker of this page has failed and is ended. */
  readonly onProblem?: ((error: unknown) => void) | undefined;
}

/** Ways for keys and values to travel. */
export const PAYLOADS: readonly PayloadType[] = ["f16", "f32", "int8"];

/** A render that begins. */
export interface CrewJob {
  readonly id: string;
  readonly prompt: string;
}

interface RunningJob extends CrewJob {
  readonly token: string;
}

/** The crew of this tab. */
export class PageCrew {
  readonly #options: PageCrewOptions;
  readonly #identity: TabIdentity;
  readonly #guests: GuestList;
  readonly #presence: Presence;
  readonly #threads = new Map<string, HelperThread>();
  #others: readonly PresentTab[] = [];
  #numThreads = 0;
  #job: RunningJob | undefined;
  /** The step that other tabs know of. */
  #announced = -1;

  private constructor(identity: TabIdentity, options: PageCrewOptions) {
    this.#identity = identity;
    this.#options = options;
    const changed = (): void => options.onChange?.();
    this.#guests = new GuestList({ invitation: identity.invitation, onChange: changed });
    const receive = (port: MessagePort): void => this.#guests.receive(port);
    acceptOpened(identity.tab, receive);
    const broker = openBroker();
    if (broker) connectToBroker(broker).lead(identity.tab, receive);
    this.#presence = new Presence({
      own: identity.tab,
      onChange: (tabs) => {
        this.#others = tabs;
        changed();
      },
    });
  }

  /** Opens the crew of this tab; it is alone at first. */
  static async open(options: PageCrewOptions): Promise<PageCrew> {
    return new PageCrew(await takeIdentity(), options);
  }

  /** Workers and tabs that are here, besides the tab itself. */
  get names(): readonly string[] {
    return [...this.#threads.keys(), ...this.#guests.names];
  }

  /** Tabs that would like to help. */
  get asking(): readonly Asking[] {
    return this.#guests.asking;
  }

  /** Other tabs that make a video just now. */
  get busyTabs(): readonly PresentTab[] {
    return this.#others.filter(({ job }) => job !== undefined);
  }

  /** Whether the worker belongs to this page, so that it can be ended here. */
  isOwn(name: string): boolean {
    return this.#threads.has(name);
  }

  /** Starts a worker in this page; it takes part in the render that runs, from the next step on. */
  async addWorker(): Promise<void> {
    const thread = await HelperThread.start(this.#options.engine);
    const name = `worker ${++this.#numThreads}`;
    this.#threads.set(name, thread);
    if (this.#job) this.#send(name, thread, this.#job);
    this.#options.onChange?.();
  }

  /** Ends a worker of this page; its frames go to the others. */
  removeWorker(name: string): void {
    this.#threads.get(name)?.end();
    this.#threads.delete(name);
    this.#options.onChange?.();
  }

  /** Opens a tab that helps this one; false when the browser does not allow it. */
  openTab(): boolean {
    const address = new URL(location.href);
    address.search = this.#options.engine === undefined ? "" : `?engine=${this.#options.engine}`;
    address.hash = invitationHash(this.#identity);
    return open(address) !== null;
  }

  /** Lets a tab in that has asked, or sends it away. */
  answer(id: number, isWelcome: boolean): void {
    this.#guests.answer(id, isWelcome);
  }

  /** A render begins: whom to share it with. Ends with `end`. */
  begin(job: CrewJob): CrewWish {
    const token = crypto.randomUUID();
    const running = { ...job, token };
    this.#job = running;
    this.#announced = -1;
    const numOthers = this.names.length;
    for (const [name, thread] of this.#threads) this.#send(name, thread, running);
    this.#guests.begin({
      token,
      prompt: job.prompt,
      onWorker: (worker) => void this.#options.host.addWorker({ ...worker, token }),
    });
    return { token, payload: this.#options.payload ?? "f16", numOthers };
  }

  /** Tells other tabs how far the render is, when it has got on. */
  announce(step: number, numSteps: number): void {
    if (this.#job === undefined || step === this.#announced) return;
    this.#announced = step;
    const { id, prompt } = this.#job;
    this.#presence.announce({ id, prompt, step, numSteps });
  }

  /** The render has ended; whoever has not heard of it leaves it now. */
  end(): void {
    this.#job = undefined;
    this.#presence.announce(undefined);
    this.#guests.end();
    for (const thread of this.#threads.values()) void thread.stop();
  }

  #send(name: string, thread: HelperThread, { token }: RunningJob): void {
    const [clips, segments] = [new MessageChannel(), new MessageChannel()];
    const worker = { token, lock: thread.lock, clips: clips.port1, segments: segments.port1 };
    void this.#options.host.addWorker(worker);
    const hostLock = tabLock(this.#identity.tab);
    const call = { token, name, hostLock, clips: clips.port2, segments: segments.port2 };
    thread.help(call).catch((error: unknown) => {
      this.removeWorker(name);
      this.#options.onProblem?.(error);
    });
  }
}
