// What numbers a run on WebGPU computes with: from what the user asked for and what the adapter has.

import { InputError } from "../errors.ts";
import type { Capabilities } from "../gpu/capabilities.ts";
import { hasInt8MatrixUnits } from "../ops/matrix_units.ts";
import type { WeightStorage } from "../weights/weight_loader.ts";
import { adapterName } from "./render_metadata.ts";

/**
 * Type of activations; "int8" is f16 whose large matrix products are of integers: of weights rounded to int8 row by row,
 * and of activations rounded to int8 token by token. Faster, and about 1 % off; only on int8 matrix units.
 */
export type NumberType = "f32" | "f16" | "int8";

/** What was asked for. */
export interface NumbersWish {
  readonly arithmetic?: NumberType | undefined;
  readonly storage?: WeightStorage | undefined;
}

/** What a run computes with. */
export interface Numbers {
  readonly dtype: "f32" | "f16";
  readonly storage: WeightStorage;
}

/** Fills in what was not asked for; throws `InputError` for what the adapter has not. */
export function chooseNumbers(capabilities: Capabilities, { arithmetic, storage }: NumbersWish): Numbers {
  const missing = (what: string): never => {
    throw new InputError(
      `${what} arithmetic was asked for, but ${adapterName(capabilities)} has none; ask for f32, or leave the choice to Weft.`,
    );
  };
  if (arithmetic === "int8") {
    if (!hasInt8MatrixUnits(capabilities)) missing("int8");
    if (storage !== undefined)
      throw new InputError("int8 arithmetic keeps the weights in its own int8: leave their storage out.");
    return { dtype: "f16", storage: "int8_rows" };
  }
  if (arithmetic === "f16" && !capabilities.f16) missing("f16");
  return {
    dtype: arithmetic ?? (capabilities.f16 ? "f16" : "f32"),
    storage: storage ?? (capabilities.software ? "f32" : "stored"),
  };
}
