// NVIDIA's graphics cards of a Linux host, as their driver shows them in files: Vulkan can neither name nor tell apart
// equal ones. Cards of other makers are not listed; Mesa's drivers have variables of their own.

import { closeSync, openSync, readdirSync, readFileSync, statSync } from "node:fs";

/** A card that processes of this host may open. */
export interface GraphicsCard {
  /** As nvidia-smi counts: by place on the bus. */
  readonly number: number;
  /** Who cannot open this file cannot see the card. */
  readonly file: string;
  /** Undefined where the driver does not tell. */
  readonly uuid?: string | undefined;
}

/** Where the driver's files are. */
export interface CardFolders {
  /** Has a file `nvidia<minor>` for every card, in a container for those it was given. */
  readonly devices: string;
  /** Has a folder for every card, called by its place on the bus, which says minor and UUID. */
  readonly driver: string;
}

const LINUX: CardFolders = { devices: "/dev", driver: "/proc/driver/nvidia/gpus" };

/**
 * The cards in nvidia-smi's order, or by their files' numbers where the driver does not tell it; none but on Linux. A
 * card that is hidden from this process is left out, and counted.
 */
export function listCards({ devices, driver }: CardFolders = LINUX): GraphicsCard[] {
  if (process.platform !== "linux") return [];
  const minors = namesIn(devices)
    .flatMap((name) => /^nvidia(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .filter((minor) => mayOpen(`${devices}/nvidia${minor}`))
    .sort((a, b) => a - b);
  const told = namesIn(driver)
    .sort()
    .flatMap((name) => toldCard(`${driver}/${name}/information`));
  const ordered = told.filter(({ minor }) => minors.includes(minor));
  const cards =
    ordered.length === minors.length ? ordered : minors.map((minor) => ({ minor, uuid: undefined }));
  return cards
    .map(({ minor, uuid }, number) => ({ number, file: `${devices}/nvidia${minor}`, uuid }))
    .filter(({ file }) => !isHidden(file));
}

/**
 * The cards that a list such as "1,0" or "GPU-1b2c,GPU-9f" names, in its order. As with CUDA what comes behind an entry
 * that names none does not count, and the beginning of a UUID will do. A list that names none at all, which switches
 * CUDA off, does not choose: all cards.
 */
export function chooseCards(
  cards: readonly GraphicsCard[],
  list: string | undefined,
): readonly GraphicsCard[] {
  const entries = (list ?? "").split(",").map((entry) => entry.trim());
  const chosen = entries.map((entry) =>
    cards.find(
      ({ number, uuid }) => entry === String(number) || (entry.startsWith("GPU-") && uuid?.startsWith(entry)),
    ),
  );
  const end = chosen.indexOf(undefined);
  const named = chosen.slice(0, end < 0 ? undefined : end).filter((card) => card !== undefined);
  return named.length > 0 ? named : cards;
}

/** A container may show files of cards that it may not use. */
function mayOpen(file: string): boolean {
  try {
    closeSync(openSync(file, "r+"));
    return true;
  } catch {
    return false;
  }
}

/** Lies under /dev/null: see card_pinning.ts. */
function isHidden(file: string): boolean {
  return statSync(file).rdev === statSync("/dev/null").rdev;
}

function toldCard(path: string): { minor: number; uuid: string | undefined }[] {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return []; // taken away meanwhile, or not ours to read
  }
  const minor = /^Device Minor:\s*(\d+)/m.exec(text)?.[1];
  const uuid = /^GPU UUID:\s*(GPU-[-0-9a-f]+)/m.exec(text)?.[1];
  return minor === undefined ? [] : [{ minor: Number(minor), uuid }];
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
