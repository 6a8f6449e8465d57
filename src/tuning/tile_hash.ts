// What a tuning depends on besides the adapter: the tiles and the text of their kernels. When one of them changes, what
// was measured before says nothing any more.

import type { Capabilities } from "../gpu/capabilities.ts";
import { SHADER_LIBRARY } from "../gpu/shader_library.ts";
import { type LinearVariant, tilesOfLinear } from "../ops/linear.ts";
import type { Tile } from "../ops/tile.ts";

const VARIANTS: readonly LinearVariant[] = ["tiled", "f16", "subgroup_matrix"];
const STORAGES = ["f16", "int8_rows"] as const;
/** A layer that has all tiles. */
const SIZE = { m: 4096, n: 1024, k: 1024 };

/** SHA-256 over all of it, its first 16 digits. */
export async function tileHash(capabilities: Capabilities): Promise<string> {
  const tiles: Tile[] = VARIANTS.flatMap((variant) =>
    STORAGES.flatMap((storage) => [...tilesOfLinear(variant, { ...SIZE, storage }, capabilities)]),
  );
  const text = JSON.stringify([tiles, [...SHADER_LIBRARY]]);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
