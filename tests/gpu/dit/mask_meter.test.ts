// What a mask search measures, against the dense twin of attention on the very queries, keys and values of the model.
import { expect, test } from "vitest";
import { maskCandidates } from "../../../src/attention/mask_candidates.ts";
import { full, planOfRule } from "../../../src/attention/plan_constructors.ts";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import { MaskMeter } from "../../../src/dit/mask_meter.ts";
import { freeTextContext } from "../../../src/dit/text_context.ts";
import { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  tensorBytes,
  uploadTensor,
} from "../../../src/tensor/tensor.ts";
import { plannedAttention } from "../../reference/attention_plan.ts";
import { fixtureTransformer } from "../../reference/model_fixture.ts";
import { randomNumbers } from "../../reference/random.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();
const SIZE = { numLatentFrames: 4, latentHeight: 6, latentWidth: 4 };
const TIMESTEP = 500;

test("errors of every candidate, layer and head equal those of the dense twin", async () => {
  const { config, checkpoint } = await fixtureTransformer("wan_tiny");
  const model = await WanTransformer3DModel.load(gpu(), checkpoint, { config, storage: "f32", dtype: "f32" });
  const prompt = { data: randomNumbers(5 * config.text_dim, 1), numTokens: 5, maxSequenceLength: 16 };
  const latents = randomNumbers(config.in_channels * 4 * 6 * 4, 2);
  const candidates = maskCandidates({ numFrames: 4, tokensPerFrame: 6 });
  const meter = new MaskMeter(gpu(), model, { size: SIZE, candidates });
  const errors = await meter.measure({ latents, timestep: TIMESTEP, prompt });
  const operands = await attentionOperands(model, { latents, prompt });
  const heads = config.num_attention_heads;
  const headDim = config.attention_head_dim;
  for (const [layer, qkv] of operands.entries()) {
    const common = { frames: 4, rows: 3, columns: 2, heads, headDim, layer, step: 0, timestep: 0, ...qkv };
    const wanted = plannedAttention({ ...common, plan: full() });
    for (const [c, { name, rule }] of candidates.entries()) {
      const out = plannedAttention({ ...common, plan: planOfRule(name, rule) });
      for (let head = 0; head < heads; head++) {
        let [difference, reference] = [0, 0];
        wanted.forEach((value, i) => {
          if (Math.floor((i % (heads * headDim)) / headDim) !== head) return;
          difference += (out[i]! - value) ** 2;
          reference += value ** 2;
        });
        const measured = errors.difference[layer]![c]![head]!;
        expect(Math.abs(measured - difference)).toBeLessThan(1e-4 * difference + 1e-9 * reference);
        expect(errors.reference[layer]![head]).toBeCloseTo(reference, 3);
      }
    }
  }
  meter.dispose();
  model.dispose();
});

/** q, k, v of every layer of one pass. */
async function attentionOperands(
  model: WanTransformer3DModel,
  { latents, prompt }: { latents: Float32Array; prompt: Parameters<MaskMeter["measure"]>[0]["prompt"] },
): Promise<Record<"q" | "k" | "v", Float32Array>[]> {
  const geometry = model.createGeometry(SIZE);
  const text = await model.createTextContext(prompt, geometry);
  const shape = [model.config.in_channels, 4, 6, 4];
  const sample = uploadTensor(gpu(), { label: "latents", dtype: "f32", shape }, latents);
  const recorder = new Recorder(gpu(), "operands");
  const copies: Record<string, Tensor>[] = [];
  const velocity = model.forward(recorder, {
    latents: sample,
    timestep: TIMESTEP,
    text,
    geometry,
    seeAttention: (_block, operands) => {
      const copied = Object.entries(operands).map(([name, tensor]) => {
        const copy = createTensor(gpu(), tensor);
        recorder.copy({ buffer: tensor.buffer, offset: tensor.offset, size: tensorBytes(tensor) }, copy);
        return [name, copy] as const;
      });
      copies.push(Object.fromEntries(copied));
    },
  });
  recorder.release(velocity.buffer);
  await recorder.submit();
  const layers = [];
  for (const layer of copies) {
    const [q, k, v] = [layer["q"]!, layer["k"]!, layer["v"]!];
    layers.push({
      q: await readTensor(gpu(), q),
      k: await readTensor(gpu(), k),
      v: await readTensor(gpu(), v),
    });
    for (const tensor of [q, k, v]) freeTensor(gpu(), tensor);
  }
  freeTensor(gpu(), sample);
  freeTextContext(gpu(), text);
  freeGeometry(geometry);
  return layers;
}
