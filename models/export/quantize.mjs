// node models/export/quantize.mjs SRC DEST [RULES.json]: what `weft quantize` does, straight from the sources.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const [source, destination, rulesFile] = process.argv.slice(2);
if (source === undefined || destination === undefined) {
  process.stderr.write("usage: node models/export/quantize.mjs SRC DEST [RULES.json]\n");
  process.exit(2);
}
const { module } = await runnerImport(
  fileURLToPath(new URL("../../src/cli/quantize_command.ts", import.meta.url)),
);
const rules = rulesFile === undefined ? module.DEFAULT_RULES : await module.readRules(rulesFile);
const { bytes, modelHash, errors } = await module.quantizeModel(source, destination, { rules });
for (const { name, format, relative, worst } of errors) {
  process.stdout.write(`${format} ${relative.toFixed(5)} ${worst.toExponential(2)} ${name}\n`);
}
process.stdout.write(`${bytes} bytes, model ${modelHash}\n`);
