// Weights that are not as they should be, and disks that are full, through the command line: one sentence, exit code 1,
// and nothing written.
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fixturePath } from "../../reference/fixture_tensors.ts";
import { runWeft, useFolder } from "./run_weft.ts";

const folder = useFolder();

const WEIGHTS = "transformer/diffusion_pytorch_model.safetensors";
const INDEX = `${WEIGHTS}.index.json`;
const TENSOR = "blocks.0.attn1.to_q.weight";
const SMALL = ["--frames", "5", "--height", "32", "--width", "32", "--max-sequence-length", "64"];

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** A copy of the tiny model whose transformer's file has another header or other data. */
function damage(name: string, change: (header: Header, data: Buffer) => void): string {
  const model = copy(name);
  const file = readFileSync(join(model, WEIGHTS));
  const end = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, end).toString()) as Header;
  const data = file.subarray(end);
  change(header, data);
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(join(model, WEIGHTS), Buffer.concat([length, text, data]));
  return model;
}

function copy(name: string): string {
  const model = join(folder, name);
  cpSync(fixturePath("wan_tiny"), model, { recursive: true });
  return model;
}

/** Changes the entry of one tensor. */
function entry(change: Partial<Header[string]>): (header: Header) => void {
  return (header) => Object.assign(header[TENSOR] ?? {}, change);
}

/** A manifest that describes the copy, of which a byte is changed then. */
function flipByte(): void {
  const model = copy("flipped");
  const files = readdirSync(model, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  const rows = files.map((one) => {
    const path = join(one.parentPath, one.name);
    const bytes = readFileSync(path);
    const sha256 = [createHash("sha256").update(bytes).digest("hex")];
    return [path.slice(model.length + 1), { bytes: bytes.length, sha256 }] as const;
  });
  const manifest = {
    format: "weft-weights",
    version: 1,
    chunk_bytes: 2 ** 22,
    files: Object.fromEntries(rows),
  };
  writeFileSync(join(model, "weights.json"), JSON.stringify(manifest));
  const bytes = readFileSync(join(model, WEIGHTS));
  bytes[50_000] = (bytes[50_000] ?? 0) ^ 1;
  writeFileSync(join(model, WEIGHTS), bytes);
}

const MODELS: readonly (readonly [string, () => void, string])[] = [
  ["missing", () => rmSync(join(copy("missing"), WEIGHTS)), "There are no weights in missing/transformer"],
  [
    "shaped",
    () => void damage("shaped", entry({ shape: [32, 128] })),
    "it is [32, 128], the model's config asks for [64, 64]",
  ],
  [
    "nan",
    () => void damage("nan", ({ [TENSOR]: t }, data) => data.writeFloatLE(NaN, t?.data_offsets[0])),
    `"${TENSOR}" holds NaN at element 0`,
  ],
  [
    "integers",
    () => void damage("integers", entry({ dtype: "I32" })),
    "has the dtype I32, which is not read here",
  ],
  [
    "long",
    () => {
      const path = join(copy("long"), WEIGHTS);
      const bytes = readFileSync(path);
      bytes.writeBigUInt64LE(10n ** 9n);
      writeFileSync(path, bytes);
    },
    "its header length 1000000000 reaches beyond the file",
  ],
  [
    "shards",
    () => {
      const model = copy("shards");
      rmSync(join(model, WEIGHTS));
      writeFileSync(join(model, INDEX), JSON.stringify({ weight_map: { [TENSOR]: "a.safetensors" } }));
    },
    "transformer/a.safetensors is named in transformer/diffusion_pytorch_model.safetensors.index.json but is missing",
  ],
  ["flipped", flipByte, "(chunk 1 of 1) is not the file its manifest describes"],
  [
    "pickled",
    () => {
      const model = copy("pickled");
      rmSync(join(model, WEIGHTS));
      writeFileSync(join(model, "transformer/diffusion_pytorch_model.bin"), "");
    },
    "is a Python pickle, which can run code and is never opened here",
  ],
  [
    "sentencepiece",
    () => {
      const model = copy("sentencepiece");
      rmSync(join(model, "tokenizer/tokenizer.json"));
      writeFileSync(join(model, "tokenizer/spiece.model"), "");
    },
    "has its tokenizer as spiece.model only",
  ],
];

test.each(MODELS)("a model that is %s", async (name, make, sentence) => {
  make();
  const before = readdirSync(folder);
  const args = ["render", "a cat", "--model", name, "--dump", "d.safetensors", ...SMALL];
  const { code, stdout, stderr } = await runWeft(folder, args);
  expect(stderr).toContain(sentence);
  expect(stderr).not.toMatch(/^\s+at .*\d+:\d+\)?$/m);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(readdirSync(folder)).toEqual(before);
});

describe.runIf(process.platform === "linux")("a full disk", () => {
  test.each(["--out", "--dump"])("under %s", async (option) => {
    const path = option === "--out" ? "full.mp4" : "full.safetensors";
    symlinkSync("/dev/full", join(folder, path));
    const other = option === "--out" ? [] : ["--out", "whole.png"];
    const before = readdirSync(folder);
    const args = [
      "render",
      "a red ball",
      option,
      path,
      ...other,
      "--frames",
      "5",
      "--height",
      "32",
      "--width",
      "32",
    ];
    const { code, stderr } = await runWeft(folder, args);
    expect(stderr).toContain(`The disk is full, so ${path} was not written; free some space`);
    expect(code).toBe(1);
    expect(readdirSync(folder).filter((name) => name !== "whole.png")).toEqual(before);
  });
});

test("arithmetic that the adapter has not", async () => {
  const args = ["render", "a red ball", "--arithmetic", "f16", "--out", "x.png", "--frames", "5"];
  const { code, stderr } = await runWeft(folder, args);
  expect(stderr).toContain("f16 arithmetic was asked for, but SwiftShader");
  expect(code).toBe(2);
});
