// A model behind a URL, kept in the browser's private storage where there is one: which of its files a render needs,
// how large they are, and bringing them here before the render starts.
import type { ModelSettings } from "../pipelines/model_index.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { FileSource } from "../weights/file_source.ts";
import { type Manifest, modelHash, readManifest } from "../weights/manifest.ts";
import { type CachedSource, openOpfsSource } from "../weights/opfs_source.ts";
import { openUrlSource } from "../weights/url_source.ts";
import type { DownloadSize, ModelSummary } from "./render_protocol.ts";

const BASE_FOLDER = "transformer";

/** An opened model folder. */
export interface ModelStore {
  readonly source: FileSource;
  /** Of the manifest; undefined without one. */
  readonly hash: string | undefined;
  /** Undefined without a manifest. */
  sizes(settings: ModelSettings): Promise<ModelSummary["downloads"]>;
  /** Caches what a render with this transformer needs; does nothing where nothing can be cached. */
  download(
    transformerFolder: RenderSettings["transformerFolder"],
    options: {
      readonly settings: ModelSettings;
      readonly signal: AbortSignal;
      readonly onProgress: (done: number, total: number) => void;
    },
  ): Promise<void>;
}

/** Opens `modelUrl`. Its manifest is read from the server each time, so that a changed model is noticed. */
export async function openModelStore(
  modelUrl: string,
  onNotice: (message: string) => void,
): Promise<ModelStore> {
  const remote = openUrlSource(modelUrl);
  const manifest = await readManifest(remote);
  if (manifest === undefined) return uncachedStore(remote);
  const hash = await modelHash(manifest);
  const cached = await openCache(remote, hash, onNotice);
  return {
    source: cached ?? remote,
    hash,
    async sizes(settings) {
      const sizeOf = (folder: string): Promise<DownloadSize> =>
        measure(manifest, requiredFiles(manifest, settings, folder), cached);
      return {
        base: await sizeOf(BASE_FOLDER),
        fewstep: settings.fewstep && (await sizeOf(settings.fewstep.folder)),
      };
    },
    async download(transformerFolder, { settings, signal, onProgress }) {
      if (cached === undefined) return;
      const paths = requiredFiles(manifest, settings, transformerFolder);
      const { total } = await measure(manifest, paths, undefined);
      let before = 0;
      for (const path of paths) {
        await cached.download(path, { signal, onProgress: (done) => onProgress(before + done, total) });
        before += manifest.files[path]?.bytes ?? 0;
      }
    },
  };
}

/** The manifest's files without the transformers that are not this one, and without the judge, which no render asks. */
export function requiredFiles(
  manifest: Manifest,
  settings: ModelSettings,
  transformerFolder: string,
): string[] {
  const others = [BASE_FOLDER, settings.fewstep?.folder].filter((folder) => folder !== transformerFolder);
  const isOthers = (path: string): boolean => others.some((other) => path.startsWith(`${other}/`));
  return Object.keys(manifest.files).filter((path) => !path.startsWith("scorer.") && !isOthers(path));
}

function uncachedStore(source: FileSource): ModelStore {
  return {
    source,
    hash: undefined,
    sizes: () => Promise.resolve(undefined),
    download: () => Promise.resolve(),
  };
}

async function openCache(
  remote: FileSource,
  hash: string,
  onNotice: (message: string) => void,
): Promise<CachedSource | undefined> {
  try {
    return await openOpfsSource(remote, { key: hash, onNotice });
  } catch {
    onNotice("This browser offers no private storage here: the model is downloaded anew each time.");
    return undefined;
  }
}

async function measure(
  manifest: Manifest,
  paths: readonly string[],
  cache: CachedSource | undefined,
): Promise<DownloadSize> {
  let total = 0;
  let cached = 0;
  for (const path of paths) {
    total += manifest.files[path]?.bytes ?? 0;
    cached += (await cache?.cachedBytes(path)) ?? 0;
  }
  return { total, cached };
}
