// What a finished file says about itself: everything needed to make the same frames again. The page and the command
// line write the same object, so that `weft inspect` reads both.

import type { Capabilities } from "../gpu/capabilities.ts";
import type { EngineDescription } from "./engine.ts";
import type { RenderSettings } from "./render_options.ts";

/** What the settings do not know. */
export interface RenderProvenance {
  /** Version of Weft. */
  readonly version: string;
  /** The model's folder or address. */
  readonly model: string;
  /** Hash of the model's manifest; undefined for models without one. */
  readonly modelHash: string | undefined;
  /** What computed it. */
  readonly engine: EngineDescription;
  /** What the attention plan is called. @default the name of its default rule */
  readonly attention?: string | undefined;
  /** Workers used each other's keys of the step before: then the frames depend on how many there were. @default not */
  readonly stale?: { readonly after: number; readonly workers: number } | undefined;
  /** The file whose noise it began with; the seed has no part in it then. */
  readonly noise?: string | undefined;
}

/** Metadata of a rendered file: plain JSON. */
export function renderMetadata(
  settings: RenderSettings,
  { version, model, modelHash, engine, attention, stale, noise }: RenderProvenance,
): Record<string, unknown> {
  const { prompt, negativePrompt, seed, sigmas, flowShift, attention: plan, notices: _, ...rest } = settings;
  return {
    engine: `weft ${version}`,
    prompt,
    negativePrompt,
    seed: noise === undefined ? seed : null,
    model: modelName(model),
    modelHash: modelHash ?? null,
    computeEngine: engine.name,
    adapter: deviceName(engine),
    ...rest,
    // By name: a searched plan is longer than the rest of the comment together.
    ...(plan && { attention: attention ?? plan.defaultRule }),
    ...(stale && { stale }),
    ...(noise !== undefined && { noise }),
    flowShift: flowShift ?? null,
    sigmas: sigmas ?? null,
  };
}

/** What an engine computes on, in a few words for people. */
export function deviceName(engine: EngineDescription): string {
  if (engine.name === "webgpu") return adapterName(engine.capabilities);
  return engine.threads === 1 ? "CPU, 1 thread" : `CPU, ${engine.threads} threads`;
}

/** The adapter in a few words, for people. */
export function adapterName({ description, vendor, architecture, software }: Capabilities): string {
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed adapter";
  return software ? `${name} (software)` : name;
}

/** The last part of a folder or address: where a model lies on one machine is nobody else's business. */
function modelName(location: string): string {
  return (
    location
      .replace(/[?#].*$/, "")
      .split(/[/\\]/)
      .findLast((part) => part !== "") ?? location
  );
}
