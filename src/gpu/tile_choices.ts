// Which tile of a kernel was measured to be the fastest on a device, for which work. Plain data: the tuner makes it
// (src/tuning), ops look it up, and what is not in it is computed with an op's default tile.

/** What a choice is made for. */
export interface TileWork {
  /** The kernel, its operands' types and the sizes that do not depend on the video, in the op's words. */
  readonly work: string;
  /** The size that does: rows of x, or keys. */
  readonly rows: number;
}

/** A choice: the name of a tile of the op's list. */
export interface TileChoice extends TileWork {
  readonly tile: string;
}

/** A choice holds for videos of up to so many times more or fewer rows. */
const NEAR = 4;

/** The tile chosen for the same work with as many rows, or the nearest number of them; undefined without one nearby. */
export function chosenTile(choices: readonly TileChoice[], { work, rows }: TileWork): string | undefined {
  let best: { readonly tile: string; readonly distance: number } | undefined;
  for (const choice of choices) {
    if (choice.work !== work) continue;
    const distance = Math.max(rows / choice.rows, choice.rows / rows);
    if (distance <= NEAR && distance < (best?.distance ?? Infinity)) best = { tile: choice.tile, distance };
  }
  return best?.tile;
}
