// Which ways to pin a process to one of several equal graphics cards work under Vulkan: each is tried in a process that
// takes some gigabytes, while nvidia-smi says on which card they are.
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { requestAdapter } from "../../src/gpu/gpu.ts";

/** A way to pin. */
export type Pin = "none" | "filter" | "mount" | "cuda_visible_devices" | "nvidia_visible_devices";

/** All ways. "filter" is tests/bench/vulkan_filter.c, built into the folder WEFT_FILTER_DIR (default /tmp/filter). */
export const PINS: readonly Pin[] = [
  "none",
  "filter",
  "mount",
  "cuda_visible_devices",
  "nvidia_visible_devices",
];

/** A command that runs `args` with this Node on card `index`. */
export function pinned(
  pin: Pin,
  index: number,
  args: readonly string[],
): { file: string; args: string[]; env: NodeJS.ProcessEnv } {
  const node = { file: process.execPath, args: [...args], env: { ...process.env } };
  const withEnv = (env: NodeJS.ProcessEnv): typeof node => ({ ...node, env: { ...node.env, ...env } });
  switch (pin) {
    case "none":
      return node;
    case "filter": {
      const json = `${process.env["WEFT_FILTER_DIR"] ?? "/tmp/filter"}/weft_icd.json`;
      return withEnv({ VK_DRIVER_FILES: json, VK_ICD_FILENAMES: json, WEFT_GPU_INDEX: String(index) });
    }
    case "mount": {
      const others = cards().filter((card) => card !== index);
      const hide = others.map((card) => `mount --bind /dev/null /dev/nvidia${card}`).join(" && ");
      const script = `${hide || "true"} && exec "$@"`;
      return { ...node, file: "unshare", args: ["-m", "sh", "-c", script, "sh", node.file, ...args] };
    }
    case "cuda_visible_devices":
      return withEnv({ CUDA_VISIBLE_DEVICES: String(index) });
    case "nvidia_visible_devices":
      return withEnv({ NVIDIA_VISIBLE_DEVICES: String(index) });
  }
}

/** Numbers of NVIDIA's device files. */
export function cards(): number[] {
  return readdirSync("/dev")
    .flatMap((name) => /^nvidia(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number);
}

const HELD_BUFFERS = 8;
const BUFFER_BYTES = 2 ** 28;
const HOLD_MS = 4000;

/** One try of a way. */
export interface PinResult {
  readonly pin: Pin;
  readonly index: number;
  readonly says: string;
  /** By nvidia-smi, of every card, while the process holds 2 GiB. */
  readonly usedMiB: string;
}

/** Tries every way on the first two cards. */
export async function probePins(): Promise<PinResult[]> {
  const results: PinResult[] = [];
  for (const pin of PINS) for (const index of [0, 1]) results.push(await tryPin(pin, index));
  return results;
}

async function tryPin(pin: Pin, index: number): Promise<PinResult> {
  const { file, args, env } = pinned(pin, index, [process.argv[1] ?? "", "pin-probe"]);
  const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let says = "";
  let usedMiB = "";
  const read = (data: Buffer): void => {
    says += data.toString();
    if (usedMiB === "" && says.includes("holding")) usedMiB = memoryUse();
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  await new Promise((resolve) => {
    child.on("close", resolve);
    child.on("error", resolve);
  });
  return { pin, index, says: says.trim().replaceAll("\n", " | ").slice(-300), usedMiB };
}

function memoryUse(): string {
  try {
    const query = ["--query-gpu=index,memory.used", "--format=csv,noheader,nounits"];
    return execFileSync("nvidia-smi", query, { encoding: "utf8" }).trim().replaceAll("\n", "; ");
  } catch (error) {
    return String(error).slice(0, 80);
  }
}

/** Holds memory on whatever card this process gets. */
export async function holdMemory(): Promise<void> {
  const adapter = await requestAdapter(startDawn());
  const device = await adapter.requestDevice();
  const usage = 0x80 | 0x08; // STORAGE | COPY_DST
  const buffers = Array.from({ length: HELD_BUFFERS }, () =>
    device.createBuffer({ size: BUFFER_BYTES, usage }),
  );
  const encoder = device.createCommandEncoder();
  for (const buffer of buffers) encoder.clearBuffer(buffer);
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  console.log(`${adapter.info.description} opened ${openCards().join(" ")} holding`);
  await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
}

/** The card files that this process has open. */
function openCards(): string[] {
  const targets = readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  return [...new Set(targets.filter((target) => /^\/dev\/nvidia\d+$/.test(target)))];
}
