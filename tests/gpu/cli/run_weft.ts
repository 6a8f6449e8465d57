// Runs the built `weft` as a user would, in a folder of its own. Not a test.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { repoPath } from "../../repo_path.ts";

/** On a bare GPU machine another build of the command line is tested. */
const MAIN = repoPath(process.env["WEFT_MAIN"] ?? "dist/cli/main.js");

/** What a command printed and how it ended. */
export interface WeftResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run it. */
export interface WeftOptions {
  /** Over the tests' own environment, which names SwiftShader; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Sees stderr as it comes, with the process. */
  readonly onStderr?: (text: string, child: ChildProcess) => void;
}

/** A fresh folder for the tests of one file, removed at the end. */
export function useFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "weft-cli-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Runs `weft ...args` in `folder`. */
export function runWeft(
  folder: string,
  args: readonly string[],
  options: WeftOptions = {},
): Promise<WeftResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: folder,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => {
      stderr += data.toString();
      options.onStderr?.(stderr, child);
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
