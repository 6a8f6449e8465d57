// GPU memory of one forward pass by the video's length, from recording it: the pool's peak does not depend on running it.
import { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import { freeGeometry } from "../../src/dit/geometry.ts";
import { freeTextContext } from "../../src/dit/text_context.ts";
import { ropePairs } from "../../src/dit/rope_tables.ts";
import { trainedLatentFrames } from "../../src/pipelines/model_attention.ts";
import { openModel, readTransformerConfig } from "../../src/pipelines/model_files.ts";
import { freeTensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import type { FileSource } from "../../src/weights/file_source.ts";
import { settingByName } from "./long_video_settings.ts";

/** What one pass takes besides the weights. */
export interface MemoryRow {
  readonly setting: string;
  readonly frames: number;
  readonly weightsMegabytes: number;
  readonly restMegabytes: number;
  readonly dispatches: number;
}

/** Records a pass of the model's few-step transformer, f32, for every setting and length. */
export async function longVideoMemory(
  source: FileSource,
  { lengths, names }: { lengths: readonly number[]; names: readonly string[] },
): Promise<MemoryRow[]> {
  const gpu = await Gpu.open({ gpu: startDawn() });
  const files = await openModel(source);
  const { fewstep, height, width } = files.settings;
  const folder = fewstep?.folder ?? "transformer";
  const config = await readTransformerConfig(files, folder);
  const checkpoint = await openCheckpoint(files.source, folder);
  const model = await WanTransformer3DModel.load(gpu, checkpoint, { config, storage: "f32", dtype: "f32" });
  const weights = gpu.memory.use.usedBytes;
  const rows: MemoryRow[] = [];
  for (const setting of names) {
    for (const frames of lengths) {
      const numLatentFrames = (frames - 1) / 4 + 1;
      const study = {
        trainedFrames: trainedLatentFrames(files.settings),
        temporalFrequencies: ropePairs(config.attention_head_dim).time,
        steps: 4,
        layers: config.num_layers,
      };
      const size = { numLatentFrames, latentHeight: height / 8, latentWidth: width / 8 };
      const geometry = model.createGeometry(size, settingByName(setting).plan(study));
      const prompt = { data: new Float32Array(10 * config.text_dim), numTokens: 10, maxSequenceLength: 64 };
      const text = await model.createTextContext(prompt, geometry);
      const shape = [config.in_channels, numLatentFrames, size.latentHeight, size.latentWidth];
      const count = shape.reduce((a, b) => a * b);
      const spec = { label: "latents", dtype: "f32", shape } as const;
      const latents = uploadTensor(gpu, spec, new Float32Array(count));
      gpu.memory.resetPeak();
      const recorder = new CountingRecorder(gpu, setting);
      model.forward(recorder, { latents, timestep: 900, text, geometry });
      const rest = gpu.memory.use.peakBytes - weights;
      rows.push({
        setting,
        frames,
        weightsMegabytes: weights / 1e6,
        restMegabytes: rest / 1e6,
        dispatches: recorder.dispatches,
      });
      recorder.discard();
      freeTensor(gpu, latents);
      freeTextContext(gpu, text);
      freeGeometry(geometry);
    }
  }
  gpu.dispose();
  return rows;
}

class CountingRecorder extends Recorder {
  dispatches = 0;

  override dispatch(...args: Parameters<Recorder["dispatch"]>): void {
    this.dispatches++;
    super.dispatch(...args);
  }
}
