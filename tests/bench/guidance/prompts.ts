// The sentences of the guidance study, by number and always the same: every word is chosen by a hash of the number. They
// stay within the grammar that weft-nano knows (models/weft-nano/train/captions.py); a third has two objects, the harder
// case.

/** Searches use the prompts below this number; those from it on are only evaluated with. */
export const FIRST_UNSEEN = 1000;

/** The prompt of a number. */
export function promptOf(number: number): string {
  const pick = (words: readonly string[], salt: number): string =>
    words[hash(number, salt) % words.length] ?? "";
  const object = (salt: number): string =>
    `a ${[SIZES, FINISHES, COLOURS, SHAPES].map((words, i) => pick(words, salt + i)).join(" ")}`;
  const scene = `${pick(GROUNDS, 8)} ${pick(SKIES, 9)}, ${pick(CAMERAS, 10)}`;
  if (hash(number, 11) % 3 > 0) return `${object(0)} ${pick(MOTIONS, 12)} ${scene}`;
  const [verb = "", relation = ""] = pick(PAIRS, 13).split("|");
  return `${object(0)} ${verb} ${object(4)}${relation} ${scene}`;
}

/** The seed of a number. */
export function seedOf(number: number): number {
  return 5000 + number;
}

function hash(number: number, salt: number): number {
  let mixed = Math.imul(number + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

const SIZES = ["small", "large", "big", "tiny"];
const FINISHES = ["shiny", "matte", "glossy"];
const COLOURS = ["red", "blue", "green", "yellow", "purple", "orange", "cyan", "white", "pink", "black"];
const SHAPES = ["ball", "cube", "cylinder", "cone", "ring", "pyramid"];
const MOTIONS = [
  "bounces",
  "rolls left",
  "rolls right",
  "spins",
  "rises",
  "falls",
  "circles",
  "grows",
  "shrinks",
  "stands still",
  "approaches the camera",
];
/** What the first object does to the second, and what follows it. */
const PAIRS = [
  "circles around|",
  "rolls left behind|",
  "rolls right behind|",
  "pushes| to the left",
  "pushes| to the right",
  "bounces next to|",
  "spins next to|",
  "rises and|",
];
const GROUNDS = ["on grass", "on sand", "on snow", "on a checkered floor", "on water"];
const SKIES = ["in daylight", "at sunset", "at night", "under an overcast sky"];
const CAMERAS = [
  "static camera",
  "the camera orbits left",
  "the camera orbits right",
  "the camera zooms in",
  "the camera zooms out",
  "the camera pans left",
  "the camera pans right",
];
