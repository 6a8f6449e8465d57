// A software GPU for machines without one: SwiftShader and a Vulkan loader, as shipped inside @sparticuz/chromium.
// Both are found through the environment a process starts with, so a command that needs them re-starts itself.

import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

/** Set in a process that was started with SwiftShader, so that it does not start itself again. */
export const SWIFTSHADER_VARIABLE = "WEFT_SWIFTSHADER";

/** Environment variables under which npm `webgpu` finds SwiftShader; unpacks it (15 MB) on first use. */
export async function swiftshaderEnvironment(): Promise<Record<string, string>> {
  const folder = await unpackSwiftshader();
  return {
    LD_LIBRARY_PATH: [folder, process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":"),
    VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json"),
    [SWIFTSHADER_VARIABLE]: "1",
  };
}

async function unpackSwiftshader(): Promise<string> {
  const entry = createRequire(import.meta.url).resolve("@sparticuz/chromium"); // …/@sparticuz/chromium/build/cjs/index.cjs
  const packageFolder = join(dirname(entry), "..", "..");
  const cache = join(packageFolder, "..", "..", ".cache");
  const folder = join(cache, "weft-swiftshader");
  if (existsSync(folder)) return folder;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(`${folder}-`);
  const archive = join(packageFolder, "bin", "swiftshader.tar.br");
  await pipeline(createReadStream(archive), createBrotliDecompress(), extract(staging));
  try {
    await rename(staging, folder);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    if (!existsSync(folder)) throw error; // else another process was faster
  }
  return folder;
}
