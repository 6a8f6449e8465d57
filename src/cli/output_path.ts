// Where a render's files go. A name the user gives is used as it is (and overwritten, as with any tool's --out); a name
// of ours never replaces a file.

import { existsSync, statSync } from "node:fs";
import { join, parse } from "node:path";
import { InputError } from "../errors.ts";

const MAX_SLUG = 60;

/** The default name without ending: the prompt's words and the seed, "a-red-ball-42". */
export function defaultStem(prompt: string, seed: number): string {
  const slug = prompt
    .normalize("NFC")
    .toLowerCase()
    .replace(/[^\p{Letter}\p{Mark}\p{Number}]+/gu, "-")
    .replace(/^-|-$/g, "");
  const short = slug.length <= MAX_SLUG ? slug : slug.slice(0, MAX_SLUG + 1).replace(/-[^-]*$/, "");
  const whole = short.slice(0, MAX_SLUG).replace(/[\ud800-\udbff]$/, ""); // not half a character
  return `${whole || "video"}-${seed}`;
}

/** Whether `--out` names a folder for files with default names. */
export function isFolder(out: string): boolean {
  return /[/\\]$/.test(out) || (existsSync(out) && statSync(out).isDirectory());
}

/** Job `index` of several that share one `--out`: "ball.mp4" -> "ball-2.mp4". */
export function numberedPath(path: string, index: number): string {
  const { dir, name, ext } = parse(path);
  return join(dir, `${name}-${index + 1}${ext}`);
}

/** Where the video goes. `taken` are the paths of the jobs before; the result is added to it. */
export function chooseOutput(
  { out, prompt, seed }: { out: string | undefined; prompt: string; seed: number },
  taken: Set<string>,
): string {
  if (out !== undefined && !isFolder(out)) {
    if (taken.has(out)) throw new InputError(`Two jobs write ${out}; give each its own "out".`);
    taken.add(out);
    return out;
  }
  const stem = join(out ?? "", defaultStem(prompt, seed));
  let path = `${stem}.mp4`;
  for (let number = 2; taken.has(path) || existsSync(path); number++) path = `${stem}-${number}.mp4`;
  taken.add(path);
  return path;
}
