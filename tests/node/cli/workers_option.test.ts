// What `--workers`, `--tabs` and the hosts refuse of each other.
import { expect, test } from "vitest";
import { requestOf } from "../../../src/cli/render_command.ts";
import { checkWorkers } from "../../../src/cli/workers_option.ts";

test.each([
  [{ tabs: 2, host: "node" }, /^--tabs opens tabs of a browser: it needs --host chromium/],
  [{ workers: 2 }, /^--workers starts processes: with --host chromium use --tabs N/],
  [{ workers: 2, tabs: 2 }, /choose one of them/],
  [{ tabs: 0 }, /^--tabs must be from 1 to 64, not 0/],
  [{ tabs: 2, guidanceWorkers: 3 }, /^--guidance-workers must be from 1 to the 2 of --tabs, not 3/],
  [{ trace: "t.json" }, /^--trace cannot be used with --host chromium/],
  [{ tabs: 2, profile: true }, /^--profile sees the kernels of a single tab/],
] as const)("--host chromium with %o is refused", async (flags, message) => {
  const refuse = async (): Promise<void> => {
    checkWorkers((await requestOf(["a"], { model: "m", host: "chromium", ...flags })).run);
  };
  await expect(refuse()).rejects.toThrow(message);
});
