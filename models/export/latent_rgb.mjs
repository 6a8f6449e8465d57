// node models/export/latent_rgb.mjs REFERENCE.safetensors... [--write MODEL]: the linear map from a model's latents to RGB
// that live previews use, by least squares over finished latents (`fewstep_latents`, last step) and their frames
// (`fewstep_frames`). Prints `latent_rgb` as JSON and R2 per colour; --write puts it into the model's vae/config.json
// and renews the manifest.
import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const CHANNELS = 16;
const UNKNOWNS = CHANNELS + 1;

const args = process.argv.slice(2);
const model = args.includes("--write") ? args.splice(args.indexOf("--write"), 2)[1] : undefined;
if (args.length === 0 || (process.argv.includes("--write") && model === undefined)) {
  process.stderr.write("usage: node models/export/latent_rgb.mjs REFERENCE.safetensors... [--write MODEL]\n");
  process.exit(2);
}
const { openFolderSource } = await load("weights/folder_source_node.ts");
const { openCheckpointFile } = await load("weights/checkpoint.ts");

const samples = (await Promise.all(args.map(readSamples))).flat();
const solutions = [0, 1, 2].map((color) => leastSquares(samples, color));
const rounded = solutions.map((solution) => solution.map((x) => Number(x.toFixed(4))));
const latentRgb = {
  factors: Array.from({ length: CHANNELS }, (_, channel) => rounded.map((solution) => solution[channel])),
  bias: rounded.map((solution) => solution[CHANNELS]),
};
const r2 = rounded.map((solution, color) => determination(samples, solution, color).toFixed(4));
process.stdout.write(
  `${JSON.stringify(latentRgb)}\nR2 (r, g, b): ${r2.join(", ")} over ${samples.length} pixels\n`,
);
if (model !== undefined) await writeInto(model);

function load(path) {
  return runnerImport(fileURLToPath(new URL(`../../src/${path}`, import.meta.url))).then(
    ({ module }) => module,
  );
}

/** Latent pixels [16 values, 1] and the mean colour, -1..1, of the frames and 8x8 pixels each stands for. */
async function readSamples(file) {
  const checkpoint = await openCheckpointFile(openFolderSource(dirname(file)), basename(file));
  const [steps, , length, height, width] = checkpoint.info("fewstep_latents").shape;
  const latents = await checkpoint.readF32("fewstep_latents");
  const frames = await checkpoint.read("fewstep_frames"); // [F, 3, 8h, 8w]
  const plane = height * width;
  const last = (steps - 1) * CHANNELS * length * plane;
  const out = [];
  for (let l = 0; l < length; l++) {
    // Latent 0 holds frame 0, latent l the four frames that end with 4l.
    const group = l === 0 ? [0] : [4 * l - 3, 4 * l - 2, 4 * l - 1, 4 * l];
    for (let pixel = 0; pixel < plane; pixel++) {
      const y = Math.floor(pixel / width);
      const x = pixel % width;
      const inputs = Array.from(
        { length: CHANNELS },
        (_, c) => latents[last + (c * length + l) * plane + pixel],
      );
      const rgb = [0, 1, 2].map((color) => {
        let sum = 0;
        for (const frame of group)
          for (let dy = 0; dy < 8; dy++)
            for (let dx = 0; dx < 8; dx++)
              sum += frames[((frame * 3 + color) * 8 * height + 8 * y + dy) * 8 * width + 8 * x + dx];
        return sum / (64 * group.length) / 127.5 - 1;
      });
      out.push({ inputs: [...inputs, 1], rgb });
    }
  }
  return out;
}

/** Solves the normal equations by Gauss-Jordan with pivoting; 17 unknowns in f64 are well within its means. */
function leastSquares(pixels, color) {
  const matrix = Array.from({ length: UNKNOWNS }, () => new Float64Array(UNKNOWNS + 1));
  for (const { inputs, rgb } of pixels)
    for (let i = 0; i < UNKNOWNS; i++) {
      for (let j = 0; j < UNKNOWNS; j++) matrix[i][j] += inputs[i] * inputs[j];
      matrix[i][UNKNOWNS] += inputs[i] * rgb[color];
    }
  for (let column = 0; column < UNKNOWNS; column++) {
    let pivot = column;
    for (let row = column; row < UNKNOWNS; row++)
      if (Math.abs(matrix[row][column]) > Math.abs(matrix[pivot][column])) pivot = row;
    [matrix[column], matrix[pivot]] = [matrix[pivot], matrix[column]];
    const scale = matrix[column][column];
    matrix[column] = matrix[column].map((x) => x / scale);
    for (let row = 0; row < UNKNOWNS; row++) {
      if (row === column) continue;
      const factor = matrix[row][column];
      matrix[row] = matrix[row].map((x, j) => x - factor * matrix[column][j]);
    }
  }
  return matrix.map((row) => row[UNKNOWNS]);
}

function determination(pixels, solution, color) {
  const mean = pixels.reduce((sum, { rgb }) => sum + rgb[color], 0) / pixels.length;
  let residual = 0;
  let total = 0;
  for (const { inputs, rgb } of pixels) {
    const predicted = inputs.reduce((sum, x, i) => sum + x * solution[i], 0);
    residual += (rgb[color] - predicted) ** 2;
    total += (rgb[color] - mean) ** 2;
  }
  return 1 - residual / total;
}

async function writeInto(folder) {
  const { createManifest, formatManifest, MANIFEST_PATH } = await load("weights/manifest.ts");
  const configFile = join(folder, "vae", "config.json");
  const config = { ...JSON.parse(await readFile(configFile, "utf8")), latent_rgb: latentRgb };
  await writeFile(configFile, JSON.stringify(config, null, 2));
  const manifestFile = join(folder, MANIFEST_PATH);
  const paths = Object.keys(JSON.parse(await readFile(manifestFile, "utf8")).files);
  await writeFile(manifestFile, formatManifest(await createManifest(openFolderSource(folder), paths)));
}
