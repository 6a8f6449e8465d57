// What a script and the page that it drives (ui/scripted.ts) tell each other: types only. Everything is JSON: bytes are
// base64, numbers little endian.
import type { DeviceUse } from "../pipelines/device_use.ts";
import type { DumpPart } from "../pipelines/dump.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import type { GivenNoise } from "../pipelines/render_latents.ts";
import type { DivisionWish } from "./render_division.ts";
import type {
  ModelRequest,
  ModelSummary,
  RenderRequest,
  RenderResult,
  ServiceDescription,
  ServiceEvent,
} from "./render_protocol.ts";

/** A job. */
export type ScriptedRequest = Omit<RenderRequest, "jobId" | "noise"> & {
  /** Its data are the bytes of f32. */
  readonly noise?: (Omit<GivenNoise, "data"> & { readonly data: string }) | undefined;
};

/** A result. */
export type ScriptedResult = Omit<RenderResult, "file" | "contactSheet"> & {
  readonly file: string;
  readonly contactSheet: string | undefined;
};

/** A preview on its way from a worker. */
export type PreviewEvent = PipelineEvent & { type: "preview" };

/** What `globalThis.onWeftEvent` gets. */
export type ScriptedEvent =
  | Exclude<ServiceEvent, PreviewEvent>
  | (Omit<PreviewEvent, "frames"> & { readonly frames: readonly string[] });

/** What `globalThis.onWeftTensor` gets. */
export type ScriptedTensor = Omit<DumpPart, "data"> & {
  readonly dtype: "f32" | "i32";
  readonly data: string;
};

/** What `globalThis.weft` offers. */
export interface ScriptedWeft {
  describe(): Promise<ServiceDescription>;
  /** Opens the model that `render` uses. Addresses may be relative to the page. */
  load(model: ModelRequest): Promise<ModelSummary>;
  render(request: ScriptedRequest): Promise<ScriptedResult>;
  /** Opens tabs that share every render from now on, and resolves when they are ready. */
  openTabs(tabs: ScriptedTabs): Promise<void>;
  deviceUse(): Promise<DeviceUse | undefined>;
  /** Stops the job that runs. */
  cancel(): void;
}

/** Helper tabs, and how renders are shared with them. */
export interface ScriptedTabs extends DivisionWish {
  readonly count: number;
}

/** Functions that a script may put on globalThis. */
export interface ScriptedListeners {
  readonly onWeftEvent?: (event: ScriptedEvent) => unknown;
  readonly onWeftTensor?: (tensor: ScriptedTensor) => unknown;
}
