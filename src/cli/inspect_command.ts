// `weft inspect FILE`: what a rendered file is, and the settings it was made with.

import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { InputError } from "../errors.ts";
import { probe } from "../video/inspect.ts";
import type { MediaInfo } from "../video/media_info.ts";
import { parseMetadata, type VideoMetadata } from "../video/metadata.ts";

/** Adds the command to the program. */
export function addInspectCommand(program: Command): void {
  program
    .command("inspect")
    .summary("say what a rendered file is and how it was made")
    .description("Prints the size, length and codec of a file and the settings it was rendered with.")
    .argument("<file>", "an .mp4, .webm, .gif or .png that weft wrote")
    .option("--json", "print one JSON object")
    .action(async (file: string, { json = false }: { json?: boolean }) => {
      const { comment, ...info } = probe(await readInput(file));
      const metadata = parseMetadata(comment);
      process.stdout.write(
        json ? `${JSON.stringify({ file, ...info, metadata }, null, 2)}\n` : describe(info, metadata),
      );
    });
}

async function readInput(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new InputError(`The file ${file} cannot be read; give a video that weft rendered.`, {
      cause: error,
    });
  }
}

function describe(info: Omit<MediaInfo, "comment">, metadata: VideoMetadata | null): string {
  const { container, codec, width, height, frames, fps, duration } = info;
  const length = duration === null ? "" : `, ${frames} frames at ${fps} fps, ${duration.toFixed(3)} s`;
  const head = `${container} (${codec}), ${width}x${height}${length}`;
  if (metadata === null) return `${head}\nIt carries no settings of weft.\n`;
  const names = Object.keys(metadata);
  const wide = Math.max(...names.map((name) => name.length));
  const lines = Object.entries(metadata).map(([name, value]) => `  ${name.padEnd(wide)}  ${textOf(value)}`);
  return `${[head, ...lines].join("\n")}\n`;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
