import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import type { Capabilities } from "../../../src/gpu/capabilities.ts";
import { chooseNumbers } from "../../../src/pipelines/arithmetic.ts";

const SOFTWARE: Capabilities = {
  vendor: "google",
  architecture: "swiftshader",
  description: "SwiftShader",
  software: true,
  f16: false,
  subgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  subgroupMatrices: [],
  timestamps: false,
  maxBufferBytes: 2 ** 30,
  maxBindingBytes: 2 ** 30,
  maxWorkgroupBytes: 32_768,
  maxInvocations: 256,
  maxStorageBuffers: 8,
};
const fragments = { M: 16, N: 16 };
const NVIDIA: Capabilities = {
  ...SOFTWARE,
  description: "NVIDIA",
  software: false,
  f16: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  subgroupMatrices: [
    { componentType: "f16", resultComponentType: "f32", K: 16, ...fragments },
    { componentType: "i8", resultComponentType: "i32", K: 32, ...fragments },
  ],
};

test("without wishes: what the adapter is fast at", () => {
  expect(chooseNumbers(SOFTWARE, {})).toEqual({ dtype: "f32", storage: "f32" });
  expect(chooseNumbers(NVIDIA, {})).toEqual({ dtype: "f16", storage: "stored" });
  expect(chooseNumbers(NVIDIA, { storage: "int8" })).toEqual({ dtype: "f16", storage: "int8" });
});

test("int8 arithmetic is f16 activations and weights of their own", () => {
  expect(chooseNumbers(NVIDIA, { arithmetic: "int8" })).toEqual({ dtype: "f16", storage: "int8_rows" });
});

test("int8 arithmetic decides how weights are stored", () => {
  const wish = { arithmetic: "int8", storage: "f16" } as const;
  expect(() => chooseNumbers(NVIDIA, wish)).toThrow(InputError);
  expect(() => chooseNumbers(NVIDIA, wish)).toThrow("leave their storage out");
});

test.each(["f16", "int8"] as const)("%s arithmetic that the adapter has not", (arithmetic) => {
  expect(() => chooseNumbers(SOFTWARE, { arithmetic })).toThrow(InputError);
  expect(() => chooseNumbers(SOFTWARE, { arithmetic })).toThrow(
    `${arithmetic} arithmetic was asked for, but SwiftShader (software) has none`,
  );
});

test("f16 matrix units alone are not enough for int8", () => {
  const [f16] = NVIDIA.subgroupMatrices;
  const older = { ...NVIDIA, subgroupMatrices: [f16!] };
  expect(() => chooseNumbers(older, { arithmetic: "int8" })).toThrow("NVIDIA has none");
});
