// Who gets which card, what is said where nobody can be given one, and that a pinned process sees one card and hears signals.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  type Command,
  leaveOutCards,
  placeOnCards,
  type PlacementOptions,
  probeUnshare,
  UNSHARE_MOUNTS,
  type UnshareProbe,
} from "../../../src/cli/card_pinning.ts";

const NODE: Command = { file: "node", args: ["weft.mjs", "a b"], env: { HOME: "/home/me" } };
const works: UnshareProbe = () => Promise.resolve(undefined);
const forbidden: UnshareProbe = () => Promise.resolve("unshare failed: Operation not permitted");

const cards = (count: number): PlacementOptions["cards"] =>
  Array.from({ length: count }, (_, number) => ({ number, file: `/dev/nvidia${number}` }));

const host = (count: number, others: Partial<PlacementOptions> = {}): PlacementOptions => ({
  cards: cards(count),
  env: {},
  probe: works,
  ...others,
});

/** The files that a command hides. */
const hidden = ({ args }: Command): string[] =>
  args.slice(0, args.indexOf("--")).filter((arg) => arg.startsWith("/dev/"));

describe("workers are dealt out", () => {
  test("one to a card, where there are as many; each sees its own alone", async () => {
    const placement = await placeOnCards(2, host(2));
    expect(placement.cards).toEqual([0, 1]);
    expect(placement.notice).toBe("2 workers on 2 graphics cards: worker 1 on card 0, worker 2 on card 1.");
    expect([0, 1].map((index) => hidden(placement.command(index, NODE)))).toEqual([
      ["/dev/nvidia1"],
      ["/dev/nvidia0"],
    ]);
    expect(placement.command(1, NODE)).toMatchObject({ file: "unshare", env: NODE.env });
    expect(placement.command(1, NODE).args.slice(-3)).toEqual(["node", "weft.mjs", "a b"]);
  });

  test("in turn, where there are more of them than cards", async () => {
    expect((await placeOnCards(5, host(3))).cards).toEqual([0, 1, 2, 0, 1]);
  });

  test("to the cards that CUDA_VISIBLE_DEVICES names, in its order; all others are hidden", async () => {
    const placement = await placeOnCards(3, host(4, { env: { CUDA_VISIBLE_DEVICES: "3,1" } }));
    expect(placement.cards).toEqual([3, 1, 3]);
    expect(hidden(placement.command(1, NODE))).toEqual(["/dev/nvidia0", "/dev/nvidia2", "/dev/nvidia3"]);
    const single = await placeOnCards(1, host(2, { env: { CUDA_VISIBLE_DEVICES: "1" } }));
    expect(single.notice).toBe("1 worker on 1 graphics card: worker 1 on card 1.");
  });

  test("in a user namespace, where only that is allowed", async () => {
    const probe: UnshareProbe = async (unshare, file) =>
      unshare.includes("--map-root-user") ? await works(unshare, file) : await forbidden(unshare, file);
    expect((await placeOnCards(2, host(2, { probe }))).command(0, NODE).args[0]).toBe("--map-root-user");
  });
});

describe("the process that coordinates", () => {
  test("does not see the cards that CUDA_VISIBLE_DEVICES leaves out", async () => {
    const wrap = await leaveOutCards(host(3, { env: { CUDA_VISIBLE_DEVICES: "2" } }));
    expect(wrap && hidden(wrap(NODE))).toEqual(["/dev/nvidia0", "/dev/nvidia1"]);
  });

  test.each([
    ["all are named", host(2, { env: { CUDA_VISIBLE_DEVICES: "1,0" } })],
    ["none is named", host(2)],
    ["they cannot be hidden", host(2, { env: { CUDA_VISIBLE_DEVICES: "1" }, probe: forbidden })],
    ["a driver shows one", host(2, { env: { CUDA_VISIBLE_DEVICES: "1", WEFT_GPU_INDEX: "0" } })],
  ])("runs on where %s", async (_case, options) => {
    expect(await leaveOutCards(options)).toBeUndefined();
  });
});

describe("the command stays as it is", () => {
  test.each([
    ["on one card", 2, host(1)],
    ["without a card of NVIDIA's", 2, host(0)],
    ["for a single worker that may be on any card", 1, host(2)],
  ])("%s", async (_case, count, options) => {
    const placement = await placeOnCards(count, options);
    expect(placement.command(0, NODE)).toBe(NODE);
    expect(placement).toMatchObject({ cards: undefined, notice: undefined });
  });

  test("where nothing can be hidden, and a notice says what to do", async () => {
    const placement = await placeOnCards(2, host(2, { probe: forbidden }));
    expect(placement.command(1, NODE)).toBe(NODE);
    expect(placement.cards).toBeUndefined();
    expect(placement.notice).toBe(
      "2 workers on the first of 2 graphics cards, because the others cannot be hidden from a process here (unshare failed: " +
        "Operation not permitted): run weft as a user who may make mount namespaces, or with the driver that shows one card " +
        "(docs/cli.md, --workers).",
    );
  });

  test.each([{ VK_DRIVER_FILES: "/a.json:/tmp/filter/weft_icd.json" }, { WEFT_GPU_INDEX: "1" }])(
    "but for a number, with the driver that shows one card: %o",
    async (env) => {
      const placement = await placeOnCards(3, host(2, { env }));
      expect(placement.cards).toEqual([0, 1, 0]);
      expect(placement.command(1, NODE)).toEqual({ ...NODE, env: { ...NODE.env, WEFT_GPU_INDEX: "1" } });
    },
  );
});

describe("trying whether a file can be hidden", () => {
  test("says so of one that is not there", async () => {
    expect(await probeUnshare(UNSHARE_MOUNTS, "/dev/nvidia-none")).toBeTruthy();
  });

  test("says when there is no unshare", async () => {
    const { PATH } = process.env;
    process.env["PATH"] = "/nowhere";
    try {
      expect(await probeUnshare(UNSHARE_MOUNTS, "/dev/zero")).toBe(
        "unshare, of util-linux, is not installed",
      );
    } finally {
      process.env["PATH"] = PATH;
    }
  });
});

/** Says which process it is and what it finds in files, then waits to be ended. */
const SAYS = `
const { readFileSync } = require("node:fs");
const found = process.argv.slice(1).map((file) => readFileSync(file, "utf8"));
process.on("SIGINT", () => process.exit(7)); // before it says anything: whoever hears it sends the signal
console.log(JSON.stringify({ pid: process.pid, found }));
setInterval(() => undefined, 1000);
`;

const folder = mkdtempSync(join(tmpdir(), "weft-pins-"));
afterAll(() => rmSync(folder, { recursive: true }));
const files = [0, 1, 2].map((number) => join(folder, `nvidia${number}`));
for (const file of files) writeFileSync(file, file);
const placement = await placeOnCards(3, { cards: files.map((file, number) => ({ number, file })), env: {} });

/** Starts a process on card 1 and waits for its first words. */
async function startOnCard1(): Promise<{ child: ChildProcess; says: unknown }> {
  const args = ["-e", SAYS, ...files];
  const command = placement.command(1, { file: process.execPath, args, env: process.env });
  const child = spawn(command.file, command.args, { stdio: ["ignore", "pipe", "inherit"] });
  const [data] = (await once(child.stdout, "data")) as [Buffer];
  return { child, says: JSON.parse(data.toString()) };
}

describe.runIf(placement.cards)(
  "a pinned process, where mount namespaces are allowed (else left out)",
  () => {
    test("sees its own card alone; others see all of them", async () => {
      const { child, says } = await startOnCard1();
      try {
        expect(says).toMatchObject({ found: ["", files[1], ""] });
        expect(files.map((file) => readFileSync(file, "utf8"))).toEqual(files);
      } finally {
        child.kill("SIGKILL");
      }
    });

    test.each([
      ["SIGINT", { code: 7, signal: null }],
      ["SIGKILL", { code: null, signal: "SIGKILL" }],
    ] as const)("has the id that its starter knows, so %s reaches it", async (sent, end) => {
      const { child, says } = await startOnCard1();
      expect(says).toMatchObject({ pid: child.pid });
      child.kill(sent);
      const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
      expect({ code, signal }).toEqual(end);
    });
  },
);
