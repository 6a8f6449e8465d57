// The page of weights_cache.test.ts: reads the embedded model over HTTP through the OPFS cache. Not a test.
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { modelHash, readManifest } from "../../src/weights/manifest.ts";
import { type CachedSource, openOpfsSource } from "../../src/weights/opfs_source.ts";
import { openUrlSource } from "../../src/weights/url_source.ts";
import { openVerifiedSource } from "../../src/weights/verified_source.ts";

/** What the test calls through page.evaluate. */
export interface WeightsPage {
  /** Sum of one tensor of a part of the model at `url`. */
  sum(url: string, part: string, name: string): Promise<number>;
  /** Forgets the model at `url`. */
  purge(url: string): Promise<void>;
}

async function open(url: string): Promise<CachedSource> {
  const remote = openUrlSource(url);
  const manifest = await readManifest(remote);
  if (manifest === undefined) throw new Error("the model has no manifest");
  return openOpfsSource(openVerifiedSource(remote, manifest), { key: await modelHash(manifest) });
}

const weightsPage: WeightsPage = {
  async sum(url, part, name) {
    const checkpoint = await openCheckpoint(await open(url), part);
    return (await checkpoint.readF32(name)).reduce((sum, value) => sum + value, 0);
  },
  async purge(url) {
    await (await open(url)).purge();
  },
};

Object.assign(globalThis, { weightsPage });
