// Tiles: the ways in which a kernel's work may be cut among workgroups and threads. Every op that has several lists
// them, its default first: that one is verified and fast on the hardware of BENCHMARKS.md. The others compute the same
// to rounding and may be faster on some device, which `weft tune` finds out (src/tuning).

import type { DispatchDescriptor } from "../gpu/command.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { chosenTile, type TileWork } from "../gpu/tile_choices.ts";

/** A kernel, specialised by what its head calls tile constants. */
export interface Tile extends Pick<DispatchDescriptor, "kernel" | "constants" | "settings"> {
  /** Unique in its list; what tuning files hold. */
  readonly name: string;
  /** WGSL extensions; default what the element types need. */
  readonly enables?: readonly string[];
}

/** Tiles, the default first. */
export type Tiles<T extends Tile = Tile> = readonly [T, ...T[]];

/**
 * The tile of that name; without a name the one that was chosen for the work on this device, else the default.
 *
 * @throws Error for a name that is not in the list; a choice that is not, of another version perhaps, is passed over
 */
export function pickTile<T extends Tile>(
  tiles: Tiles<T>,
  gpu: Gpu,
  { name, ...work }: TileWork & { readonly name: string | undefined },
): T {
  if (name === undefined) {
    const chosen = chosenTile(gpu.tiles, work);
    return tiles.find((tile) => tile.name === chosen) ?? tiles[0];
  }
  const named = tiles.find((tile) => tile.name === name);
  if (named !== undefined) return named;
  const known = tiles.map((tile) => tile.name).join(", ");
  throw new Error(`There is no tile "${name}" for ${work.work}; there are ${known}.`);
}
