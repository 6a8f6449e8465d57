// Processes with a graphics card each. Dawn in Node takes the first card that Vulkan names, and equal ones have equal
// names; so a process gets to see one card alone: in a mount namespace of its own /dev/null lies over the others' files.

import { execFile } from "node:child_process";
import { basename } from "node:path";
import { chooseCards, type GraphicsCard } from "./graphics_cards.ts";
import { workerName } from "./workers_words.ts";

/** What a process is started with. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** Arguments with which `unshare` (util-linux) makes a mount namespace whose mounts nobody outside sees. */
export type Unshare = readonly string[];

/** For a process with the right to mount. */
export const UNSHARE_MOUNTS: Unshare = ["--mount", "--propagation", "private"];

/** The second one is for everybody, where the system lets users have user namespaces; files stay the user's own. */
const UNSHARE_WAYS: readonly Unshare[] = [UNSHARE_MOUNTS, ["--map-root-user", ...UNSHARE_MOUNTS]];

/** Says whether a way can hide a file; why not, or undefined. */
export type UnshareProbe = (unshare: Unshare, file: string) => Promise<string | undefined>;

/** Where the processes of a render go. */
export interface CardPlacement {
  /** Card of each worker; undefined where there is nothing to choose, or no way to do so. */
  readonly cards: readonly number[] | undefined;
  /** What people should know. */
  readonly notice: string | undefined;
  /** The command that runs worker `index`. */
  command(index: number, plain: Command): Command;
}

/** Puts what a command needs around it. */
export type Wrap = (plain: Command) => Command;

/** What a placement is found with. */
export interface PlacementOptions {
  /** All cards of the host. */
  readonly cards: readonly GraphicsCard[];
  /** The user's environment: a list of cards for CUDA counts here too, and a driver that shows one card. */
  readonly env?: NodeJS.ProcessEnv;
  readonly probe?: UnshareProbe;
}

/** Every process takes what the driver gives it. */
export const UNPINNED: CardPlacement = {
  cards: undefined,
  notice: undefined,
  command: (_index, plain) => plain,
};

/** Deals workers out to cards in turn, where there are several. */
export async function placeOnCards(
  count: number,
  { cards, env = process.env, probe = probeUnshare }: PlacementOptions,
): Promise<CardPlacement> {
  if (hasCardDriver(env)) return byCardDriver(count, cards.length || count);
  const chosen = chooseCards(cards, env["CUDA_VISIBLE_DEVICES"]);
  const [first] = chosen;
  const hidden = cards.find((card) => card !== first);
  if (first === undefined || hidden === undefined || (count < 2 && chosen.length === cards.length))
    return UNPINNED;
  const found = await findUnshare(hidden.file, probe);
  if ("reason" in found) return { ...UNPINNED, notice: sharedNotice(count, cards.length, found.reason) };
  const numbers = Array.from(
    { length: count },
    (_, index) => (chosen[index % chosen.length] ?? first).number,
  );
  return {
    cards: numbers,
    notice: placedNotice(numbers),
    command: (index, plain) => {
      const others = cards.filter(({ number }) => number !== numbers[index]);
      return hideCards(plain, others, found.unshare);
    },
  };
}

/**
 * For a process that only coordinates, but computes a little: how to run it without the cards that CUDA_VISIBLE_DEVICES
 * leaves out; undefined where that is so already, or cannot be.
 */
export async function leaveOutCards({
  cards,
  env = process.env,
  probe = probeUnshare,
}: PlacementOptions): Promise<Wrap | undefined> {
  if (hasCardDriver(env)) return undefined;
  const chosen = chooseCards(cards, env["CUDA_VISIBLE_DEVICES"]);
  const others = cards.filter((card) => !chosen.includes(card));
  const [hidden] = others;
  const found = hidden && (await findUnshare(hidden.file, probe));
  if (found === undefined || "reason" in found) return undefined;
  return (plain) => hideCards(plain, others, found.unshare);
}

/** A command whose process, under the same id, does not see some of the cards. */
export function hideCards(
  { file, args, env }: Command,
  cards: readonly GraphicsCard[],
  unshare: Unshare,
): Command {
  const hidden = cards.map((card) => card.file);
  return {
    file: "unshare",
    args: [...unshare, "sh", "-c", HIDE_AND_RUN, "sh", ...hidden, "--", file, ...args],
    env,
  };
}

/** Neither `unshare` nor the shell starts a process of its own, so signals for the process reach the command. */
const HIDE_AND_RUN =
  'while [ "$1" != -- ]; do mount --bind /dev/null "$1" || exit 1; shift; done; shift; exec "$@"';

/** Tries a way on a file of this host, in a namespace that ends with the try. */
export const probeUnshare: UnshareProbe = (unshare, file) => {
  const args = [...unshare, "sh", "-c", HIDE_AND_RUN, "sh", file, "--", "test", file, "-ef", "/dev/null"];
  return new Promise((resolve) => {
    execFile("unshare", args, { timeout: PROBE_MS, killSignal: "SIGKILL" }, (error, _stdout, stderr) => {
      if (error === null) return resolve(undefined);
      if (error.code === "ENOENT") return resolve("unshare, of util-linux, is not installed");
      if (error.killed) return resolve(`unshare has not answered within ${PROBE_MS / 1000} s`);
      resolve(stderr.trim().split("\n").at(-1) || "the file was still there");
    });
  });
};

const PROBE_MS = 2000;

async function findUnshare(
  file: string,
  probe: UnshareProbe,
): Promise<{ readonly unshare: Unshare } | { readonly reason: string }> {
  const reasons: string[] = [];
  for (const unshare of UNSHARE_WAYS) {
    const reason = await probe(unshare, file);
    if (reason === undefined) return { unshare };
    reasons.push(reason);
  }
  return { reason: [...new Set(reasons)].join("; ") };
}

/** Manifest of a driver in front of the driver that shows one card (tests/bench/vulkan_filter.c), as its head names it. */
const CARD_DRIVER = "weft_icd.json";
/** Which one, in Vulkan's order. */
const CARD_VARIABLE = "WEFT_GPU_INDEX";

function hasCardDriver(env: NodeJS.ProcessEnv): boolean {
  const manifests = [env["VK_DRIVER_FILES"], env["VK_ICD_FILENAMES"]].flatMap(
    (list) => list?.split(":") ?? [],
  );
  return env[CARD_VARIABLE] !== undefined || manifests.some((path) => basename(path) === CARD_DRIVER);
}

function byCardDriver(count: number, numCards: number): CardPlacement {
  const cards = Array.from({ length: count }, (_, index) => index % numCards);
  return {
    cards,
    notice: placedNotice(cards),
    command: (index, plain) => ({ ...plain, env: { ...plain.env, [CARD_VARIABLE]: String(cards[index]) } }),
  };
}

function placedNotice(cards: readonly number[]): string {
  const used = new Set(cards).size;
  const each = cards.map((card, index) => `${workerName(index)} on card ${card}`);
  return `${plural(cards.length, "worker")} on ${plural(used, "graphics card")}: ${each.join(", ")}.`;
}

function sharedNotice(count: number, numCards: number, reason: string): string {
  return (
    `${plural(count, "worker")} on the first of ${numCards} graphics cards, because the others cannot be hidden from ` +
    `a process here (${reason}): run weft as a user who may make mount namespaces, or with the driver that shows one ` +
    "card (docs/cli.md, --workers)."
  );
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
