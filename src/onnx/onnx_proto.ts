// The part of ONNX's protobuf schema that Weft writes: one ModelProto with a graph of nodes and constants.
// Field numbers and enum values are those of onnx/onnx.proto3 (IR version 8). It writes only; it does not
// read models, and it knows nothing of what the operators mean (graph_builder.ts is the friendly face).
import protobuf from "protobufjs/light.js";

/** `TensorProto.DataType`, for the types the graphs here use. */
export const ONNX_DATA_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const;

/** Names of tensor element types, as onnxruntime spells them. */
export type OnnxDataType = keyof typeof ONNX_DATA_TYPES;

/** `AttributeProto.AttributeType`, for the attributes the graphs here use. */
export const ONNX_ATTRIBUTE_TYPES = { f: 1, i: 2, s: 3, floats: 6, ints: 7 } as const;

/** A constant: raw little-endian elements in row-major order. */
export interface TensorProto {
  readonly name: string;
  readonly dataType: number;
  readonly dims: readonly number[];
  readonly rawData: Uint8Array;
}

/** One attribute of a node; `type` says which of the value fields counts. */
export interface AttributeProto {
  readonly name: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly floats?: readonly number[];
  readonly ints?: readonly number[];
}

/** One operator call; values are connected by name, an empty name skips an optional input. */
export interface NodeProto {
  readonly name: string;
  readonly opType: string;
  readonly domain?: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly AttributeProto[];
}

/** Type and shape of a graph input or output; a dimension is a number or a symbol. */
export interface ValueInfoProto {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim: readonly ({ dimValue: number } | { dimParam: string })[] };
    };
  };
}

/** A graph with the operator sets that its nodes come from. */
export interface ModelProto {
  readonly irVersion: number;
  readonly producerName: string;
  readonly opsetImport: readonly { readonly domain: string; readonly version: number }[];
  readonly graph: {
    readonly name: string;
    readonly node: readonly NodeProto[];
    readonly initializer: readonly TensorProto[];
    readonly input: readonly ValueInfoProto[];
    readonly output: readonly ValueInfoProto[];
  };
}

/** Serialises a model to the bytes of an `.onnx` file. Throws a plain Error when a field has the wrong type. */
export function encodeModel(model: ModelProto): Uint8Array {
  const type = modelType();
  const problem = type.verify(model);
  if (problem !== null) throw new Error(`Cannot encode the ONNX model: ${problem}.`);
  return type.encode(model).finish();
}

const repeated = (type: string, id: number): protobuf.IField => ({ rule: "repeated", type, id });

// Only the fields written here; onnx.proto3 has more, and readers do not miss them.
const SCHEMA: protobuf.INamespace = {
  nested: {
    ModelProto: {
      fields: {
        irVersion: { type: "int64", id: 1 },
        producerName: { type: "string", id: 2 },
        graph: { type: "GraphProto", id: 7 },
        opsetImport: repeated("OperatorSetIdProto", 8),
      },
    },
    OperatorSetIdProto: { fields: { domain: { type: "string", id: 1 }, version: { type: "int64", id: 2 } } },
    GraphProto: {
      fields: {
        node: repeated("NodeProto", 1),
        name: { type: "string", id: 2 },
        initializer: repeated("TensorProto", 5),
        input: repeated("ValueInfoProto", 11),
        output: repeated("ValueInfoProto", 12),
      },
    },
    NodeProto: {
      fields: {
        input: repeated("string", 1),
        output: repeated("string", 2),
        name: { type: "string", id: 3 },
        opType: { type: "string", id: 4 },
        attribute: repeated("AttributeProto", 5),
        domain: { type: "string", id: 7 },
      },
    },
    AttributeProto: {
      fields: {
        name: { type: "string", id: 1 },
        f: { type: "float", id: 2 },
        i: { type: "int64", id: 3 },
        s: { type: "bytes", id: 4 },
        floats: repeated("float", 7),
        ints: repeated("int64", 8),
        type: { type: "int32", id: 20 },
      },
    },
    TensorProto: {
      fields: {
        dims: repeated("int64", 1),
        dataType: { type: "int32", id: 2 },
        name: { type: "string", id: 8 },
        rawData: { type: "bytes", id: 9 },
      },
    },
    ValueInfoProto: { fields: { name: { type: "string", id: 1 }, type: { type: "TypeProto", id: 2 } } },
    TypeProto: { fields: { tensorType: { type: "TypeProtoTensor", id: 1 } } },
    TypeProtoTensor: {
      fields: { elemType: { type: "int32", id: 1 }, shape: { type: "TensorShapeProto", id: 2 } },
    },
    TensorShapeProto: { fields: { dim: repeated("Dimension", 1) } },
    Dimension: { fields: { dimValue: { type: "int64", id: 1 }, dimParam: { type: "string", id: 2 } } },
  },
};

let cachedType: protobuf.Type | undefined;

function modelType(): protobuf.Type {
  cachedType ??= protobuf.Root.fromJSON(SCHEMA).lookupType("ModelProto");
  return cachedType;
}
