// The headless Chromium of @sparticuz/chromium, for a machine where nothing was installed by hand. The package unpacks its
// browser into os.tmpdir() and returns early when the file exists, even half written by another process; so it is unpacked
// by a child with a TMPDIR of its own and renamed.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

/** How to start the browser. `navigator.gpu` needs a secure context: http://localhost or http://127.0.0.1. */
export interface ChromiumCommand {
  readonly executable: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What the flags are for: no user namespaces in containers; WebGPU on the software adapter (SwiftShader). */
const FLAGS = ["--no-sandbox", "--enable-unsafe-webgpu", "--disable-dev-shm-usage"];

/** The browser with WebGPU on SwiftShader, unpacked when it was not yet. Rejects with an AbortError after the signal. */
export async function findChromium(signal?: AbortSignal): Promise<ChromiumCommand> {
  const folder = await unpackChromium(signal);
  return {
    executable: join(folder, "chromium"),
    args: FLAGS,
    env: {
      ...process.env,
      // libnss3, libnspr4 and libexpat, which a bare machine lacks; beyond them Chromium needs just the C library.
      LD_LIBRARY_PATH: [join(folder, "al2023", "lib"), process.env["LD_LIBRARY_PATH"]]
        .filter(Boolean)
        .join(":"),
      FONTCONFIG_FILE: await writeFontConfig(folder),
    },
  };
}

/** The package's own fonts.conf looks for its font in /tmp/fonts: pages would have no text at all. */
async function writeFontConfig(folder: string): Promise<string> {
  const file = join(folder, "weft_fonts.conf");
  const families = ["sans-serif", "serif", "monospace", "system-ui"];
  const alias = (family: string): string =>
    `<alias><family>${family}</family><prefer><family>Open Sans</family></prefer></alias>`;
  await writeFile(
    file,
    `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>${join(folder, "fonts")}</dir>` +
      `<cachedir>${join(folder, "fonts-cache")}</cachedir>${families.map(alias).join("")}</fontconfig>`,
  );
  return file;
}

/** Unpacks browser, libraries, fonts and SwiftShader once (2 s, 206 MB); returns the folder they are in. */
async function unpackChromium(signal: AbortSignal | undefined): Promise<string> {
  const packageFolder = findPackage();
  const cache = join(packageFolder, "..", "..", ".cache");
  const folder = join(cache, `chromium-${await packageVersion()}`);
  if (existsSync(folder)) return folder;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(`${folder}-`);
  try {
    const script = `import chromium from "@sparticuz/chromium"; await chromium.executablePath();`;
    await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
      cwd: packageFolder,
      signal,
      // Its libraries are unpacked only where it believes to run on Amazon Linux 2023.
      env: { ...process.env, TMPDIR: staging, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs20.x" },
    });
    await rename(staging, folder);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    if (!existsSync(folder)) throw error; // else another process was faster
  }
  return folder;
}

/** The folder of @sparticuz/chromium; its entry is build/cjs/index.cjs in it. */
function findPackage(): string {
  const entry = createRequire(import.meta.url).resolve("@sparticuz/chromium");
  return join(dirname(entry), "..", "..");
}

async function packageVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(findPackage(), "package.json"), "utf8"));
  if (typeof manifest === "object" && manifest && "version" in manifest) return String(manifest.version);
  throw new Error("The package.json of @sparticuz/chromium has no version: run npm ci again.");
}
