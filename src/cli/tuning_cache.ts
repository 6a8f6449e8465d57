// What `weft tune` found, in the user's cache folder: one file for every adapter. A file that another driver, or other
// kernels, were measured for is not used. The page has no such cache; its kernels run with their default tiles.

import { createHash } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { readCapabilities } from "../gpu/capabilities.ts";
import { Gpu, requestAdapter } from "../gpu/gpu.ts";
import type { TileChoice } from "../gpu/tile_choices.ts";
import { tileHash } from "../tuning/tile_hash.ts";
import type { TuningResult } from "../tuning/tune.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { VERSION } from "./package_files.ts";

const tileSchema = v.object({
  tile: v.string(),
  milliseconds: v.nullable(v.number()),
  range: v.nullable(v.tuple([v.number(), v.number()])),
  teraflops: v.nullable(v.number()),
  difference: v.nullable(v.number()),
  refusal: v.optional(v.string()),
});

const fileSchema = v.object({
  weft: v.string(),
  /** ISO 8601. */
  date: v.string(),
  /** What the adapter says of itself; on most systems its description names the driver's version. */
  adapter: v.record(v.string(), v.string()),
  /** Of the kernels' text and their tiles. */
  kernels: v.string(),
  results: v.array(
    v.object({
      work: v.string(),
      rows: v.number(),
      tile: v.string(),
      title: v.string(),
      speedUp: v.number(),
      tiles: v.array(tileSchema),
    }),
  ),
});

/** A tuning as it is stored. */
export type TuningFile = Omit<v.InferOutput<typeof fileSchema>, "results"> & {
  readonly results: readonly TuningResult[];
};

/** Where an adapter's tuning is, and what is there: nothing, something that no longer holds, or a tuning. */
export interface StoredTuning {
  readonly path: string;
  readonly state: "none" | "outdated" | "tuned";
  /** With state "tuned". */
  readonly file?: TuningFile;
}

/** The folder for files that can be made again: XDG_CACHE_HOME, or what the system has in its place. */
export function cacheFolder(
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  const xdg = env["XDG_CACHE_HOME"];
  if (xdg) return join(xdg, "weft");
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "weft");
  if (platform === "win32")
    return join(env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local"), "weft", "Cache");
  return join(homedir(), ".cache", "weft");
}

/** Reads an adapter's tuning. A file that cannot be read, or is damaged, is one that no longer holds. */
export async function readTuning(adapter: GPUAdapter): Promise<StoredTuning> {
  const path = tuningPath(adapter);
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return { path, state: "none" };
  const file = parseTuning(text);
  const kernels = await tileHash(readCapabilities(adapter));
  return file?.kernels === kernels ? { path, state: "tuned", file } : { path, state: "outdated" };
}

/** The tiles that kernels should take on an adapter: those of its tuning, none without one. */
export async function tunedTiles(gpu: GPU): Promise<readonly TileChoice[]> {
  return (await readTuning(await requestAdapter(gpu))).file?.results ?? [];
}

/** Opens a GPU whose kernels take them. */
export async function openTunedGpu(gpu: GPU, memoryCapBytes?: number): Promise<Gpu> {
  return await Gpu.open({ gpu, memoryCapBytes, tiles: await tunedTiles(gpu) });
}

/** Adds results to an adapter's tuning; earlier ones of the same works are replaced. Returns what is then stored. */
export async function writeTuning(
  adapter: GPUAdapter,
  results: readonly TuningResult[],
): Promise<{ readonly path: string; readonly file: TuningFile }> {
  const { path, file: before } = await readTuning(adapter);
  const isNew = ({ work, rows }: TuningResult): boolean =>
    !results.some((result) => result.work === work && result.rows === rows);
  const file: TuningFile = {
    weft: VERSION,
    date: new Date().toISOString(),
    adapter: identityOf(adapter),
    kernels: await tileHash(readCapabilities(adapter)),
    results: [...(before?.results ?? []).filter(isNew), ...results],
  };
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, [new TextEncoder().encode(`${JSON.stringify(file, null, 1)}\n`)]);
  return { path, file };
}

/** Forgets an adapter's tuning. */
export async function removeTuning(adapter: GPUAdapter): Promise<StoredTuning> {
  const before = await readTuning(adapter);
  await rm(before.path, { force: true });
  return before;
}

function parseTuning(text: string): TuningFile | undefined {
  try {
    const { success, output } = v.safeParse(fileSchema, JSON.parse(text));
    return success ? (output as TuningFile) : undefined;
  } catch {
    return undefined;
  }
}

/** What tells adapters and drivers apart; `driver` is Dawn's, where it gives one. */
function identityOf({ info }: GPUAdapter): Record<string, string> {
  const { vendor, architecture, device, description } = info;
  const { driver = "" } = info as { driver?: string };
  return { vendor, architecture, device, description, driver };
}

function tuningPath(adapter: GPUAdapter): string {
  const identity = identityOf(adapter);
  const name = [identity["vendor"], identity["architecture"]].filter(Boolean).join("-") || "adapter";
  const hash = createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 12);
  return join(cacheFolder(), "tuning", `${name.replaceAll(/[^\w-]+/g, "_")}-${hash}.json`);
}
