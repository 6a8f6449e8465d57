// Rewrites one checkpoint with chosen tensors in affine integer storage, tensor by tensor, so that a model larger than
// memory passes through. Says what every tensor lost. Which files to write where is the command line's business.

import { WeightsError } from "../errors.ts";
import { dequantizeAffine, GROUP_SIZE, groupsPerRow, quantizeAffine } from "./affine.ts";
import type { Checkpoint, TensorInfo } from "./checkpoint.ts";
import { packBits } from "./packed_bits.ts";
import { encodeSafetensorsHeader, type TensorSpec } from "./safetensors.ts";
import { columnsOf } from "./stored_tensor.ts";

/** What to do with a tensor: copy its bytes, leave it out, or store it as affine integers of so many bits. */
export type TensorFormat = "keep" | "drop" | "int8" | "int7" | "int6" | "int5" | "int4";

/** What the integers cost: ‖stored − original‖ / ‖original‖, and the largest difference of one weight. */
export interface QuantizationError {
  readonly name: string;
  readonly format: TensorFormat;
  readonly relative: number;
  readonly worst: number;
}

/** A safetensors file in pieces, in file order, and what it lost (complete when the last piece has been taken). */
export interface QuantizedFile {
  readonly pieces: AsyncIterable<Uint8Array>;
  readonly errors: readonly QuantizationError[];
}

/**
 * The checkpoint's tensors in the formats `choose` gives. A matrix whose rows are not whole groups of 64 is kept as it
 * is, as are vectors and tensors that are not floating point; convolutions can only be kept or int8.
 * The pieces throw `WeightsError` where a tensor cannot be read or is beyond f16.
 */
export function quantizeCheckpoint(
  checkpoint: Checkpoint,
  choose: (name: string, info: TensorInfo) => TensorFormat,
  signal?: AbortSignal,
): QuantizedFile {
  const plan = checkpoint.names.flatMap((name): PlannedTensor[] => {
    const info = checkpoint.info(name);
    if (info.storage === "int8")
      throw new WeightsError(`${checkpoint.location} is quantised already ("${name}").`);
    const format = applicableFormat(info, choose(name, info));
    return format === "drop" ? [] : [{ name, info, format }];
  });
  const errors: QuantizationError[] = [];
  return { errors, pieces: quantizedPieces(checkpoint, { plan, errors, signal }) };
}

interface PlannedTensor {
  readonly name: string;
  readonly info: TensorInfo;
  readonly format: Exclude<TensorFormat, "drop">;
}

const BITS = { int8: 8, int7: 7, int6: 6, int5: 5, int4: 4 } as const;

function applicableFormat({ storage, shape }: TensorInfo, wanted: TensorFormat): TensorFormat {
  if (wanted === "keep" || wanted === "drop") return wanted;
  if (storage === "other" || shape.length < 2) return "keep";
  if (shape.length > 2) return wanted === "int8" ? wanted : "keep";
  return columnsOf(shape) % GROUP_SIZE === 0 ? wanted : "keep";
}

async function* quantizedPieces(
  checkpoint: Checkpoint,
  {
    plan,
    errors,
    signal,
  }: { plan: readonly PlannedTensor[]; errors: QuantizationError[]; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  yield encodeSafetensorsHeader(plan.flatMap(specsOf), { format: "pt" });
  for (const { name, info, format } of plan) {
    if (format === "keep") {
      yield await checkpoint.read(name, signal);
      continue;
    }
    const bits = BITS[format];
    const weights = await checkpoint.readF32(name, { signal });
    const columns = columnsOf(info.shape);
    const quantised = quantizeNamed(`${checkpoint.location}: tensor "${name}"`, weights, { columns, bits });
    errors.push({ name, format, ...compare(dequantizeAffine(quantised, columns), weights) });
    yield bytesOf(quantised.scales);
    yield bytesOf(quantised.biases);
    yield packBits(quantised.q, bits);
  }
}

/** Scales and biases stand before q: together they are what a reader needs first, and all of it is one range. */
function specsOf({ name, info, format }: PlannedTensor): TensorSpec[] {
  if (format === "keep") return [{ name, dtype: info.dtype, shape: info.shape }];
  const rows = info.shape[0] ?? 0;
  const columns = columnsOf(info.shape);
  const table = { dtype: "F16" as const, shape: [rows, groupsPerRow(columns)] };
  const q: TensorSpec =
    format === "int8"
      ? { name, dtype: "U8", shape: info.shape }
      : { name, dtype: "U32", shape: [rows, (columns * BITS[format]) / 32] };
  return [{ name: `${name}.scales`, ...table }, { name: `${name}.biases`, ...table }, q];
}

function quantizeNamed(
  label: string,
  weights: Float32Array,
  { columns, bits }: { columns: number; bits: number },
): ReturnType<typeof quantizeAffine> {
  try {
    return quantizeAffine(weights, columns, bits);
  } catch (error) {
    throw new WeightsError(
      `${label} cannot be quantised: ${error instanceof Error ? error.message : "unknown"}`,
      {
        cause: error,
      },
    );
  }
}

function compare(stored: Float32Array, original: Float32Array): { relative: number; worst: number } {
  let squares = 0;
  let norm = 0;
  let worst = 0;
  for (let i = 0; i < original.length; i++) {
    const difference = Math.abs((stored[i] ?? 0) - (original[i] ?? 0));
    squares += difference ** 2;
    norm += (original[i] ?? 0) ** 2;
    worst = Math.max(worst, difference);
  }
  return { relative: norm === 0 ? 0 : Math.sqrt(squares / norm), worst };
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint16Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
