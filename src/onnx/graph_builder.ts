// Builds ONNX graphs: inputs, constants, nodes, outputs, each checked when it is added. General: it knows no
// operator. Shapes of intermediate values are onnxruntime's business; only what is declared is checked here.
import {
  encodeModel,
  ONNX_ATTRIBUTE_TYPES,
  ONNX_DATA_TYPES,
  type AttributeProto,
  type NodeProto,
  type OnnxDataType,
  type TensorProto,
  type ValueInfoProto,
} from "./onnx_proto.ts";

// Operators mean what they mean in this version of the default operator set.
const OPSET_VERSION = 17;
const IR_VERSION = 8; // the oldest that carries opset 17

/** A tensor that flows through one graph; made only by that graph's builder. */
export interface Value {
  readonly name: string;
}

/** One attribute, tagged with ONNX's field name: int `i`, float `f`, string `s`, lists `ints` and `floats`. */
export type Attribute =
  | { readonly i: number }
  | { readonly f: number }
  | { readonly s: string }
  | { readonly ints: readonly number[] }
  | { readonly floats: readonly number[] };

/** Elements of a constant: f32, f16 bits, int64, int32 or bytes. The array's class decides the type. */
export type ConstantData = Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

/** A dimension of a graph input or output: a size, or a name when it may differ from call to call. */
export type Dimension = number | string;

/** What a node may have beside its operator and operands. */
export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** For messages and profiles; made unique. Default: the operator's name. */
  readonly name?: string;
  /** Operator set other than ONNX's own, for instance "com.microsoft". */
  readonly domain?: string;
}

/** Collects one graph and serialises it. Names given twice get a number appended, so that all are unique. */
export class GraphBuilder {
  readonly #name: string;
  readonly #names = new Map<string, number>(); // name -> how often it was asked for
  readonly #values = new Set<Value>();
  readonly #domains = new Set<string>();
  readonly #nodes: Node[] = [];
  readonly #outputNames = new Map<Value, string>(); // values of nodes that became graph outputs
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  /** Declares a graph input; its name must be free, since callers feed by it. */
  input(name: string, dataType: OnnxDataType, dims: readonly Dimension[]): Value {
    const value = this.#exactValue(name);
    this.#inputs.push(valueInfo(name, dataType, dims));
    return value;
  }

  /** Adds a constant of the given shape. The data is not copied: leave it unchanged until `encode`. */
  constant(name: string, dims: readonly number[], data: ConstantData): Value {
    const size = dims.reduce((product, dim) => product * dim, 1);
    if (size !== data.length)
      throw new Error(
        `Constant ${name} has shape [${dims.join(", ")}], ${size} elements, but ${data.length} values.`,
      );
    const value = this.#newValue(name);
    this.#initializers.push({
      name: value.name,
      dataType: ONNX_DATA_TYPES[dataTypeOf(data)],
      dims,
      rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    });
    return value;
  }

  /** Adds an int64 vector, the form in which operators take shapes, axes and slice bounds. */
  int64s(name: string, values: readonly number[]): Value {
    return this.constant(name, [values.length], BigInt64Array.from(values, BigInt));
  }

  /** Adds an f32 scalar. */
  scalar(name: string, value: number): Value {
    return this.constant(name, [], Float32Array.of(value));
  }

  /** Adds a node with one output. `null` among the inputs skips an optional one. */
  node(opType: string, inputs: readonly (Value | null)[], options: NodeOptions = {}): Value {
    const output = this.#newValue(options.name ?? opType);
    this.#addNode(opType, inputs, [output], options);
    return output;
  }

  /** Adds a node with `count` outputs (Split, for instance). */
  nodeWithOutputs(
    opType: string,
    inputs: readonly (Value | null)[],
    count: number,
    options: NodeOptions = {},
  ): Value[] {
    const outputs = Array.from({ length: count }, () => this.#newValue(options.name ?? opType));
    this.#addNode(opType, inputs, outputs, options);
    return outputs;
  }

  /** Declares `value` to be the graph output of that name. */
  output(name: string, value: Value, dataType: OnnxDataType, dims: readonly Dimension[]): void {
    const exact = this.#exactValue(name);
    const isNodeOutput = this.#nodes.some((node) => node.outputs.includes(value));
    // A value that a node computes simply takes the output's name; anything else has to be copied.
    if (isNodeOutput && !this.#outputNames.has(value)) this.#outputNames.set(value, name);
    else this.#addNode("Identity", [value], [exact], { name: `output_${name}` });
    this.#outputs.push(valueInfo(name, dataType, dims));
  }

  /** The bytes of the `.onnx` file. */
  encode(): Uint8Array {
    if (this.#outputs.length === 0)
      throw new Error(`Graph ${this.#name} has no outputs; declare at least one.`);
    return encodeModel({
      irVersion: IR_VERSION,
      producerName: "weft",
      opsetImport: [
        { domain: "", version: OPSET_VERSION },
        ...[...this.#domains].map((domain) => ({ domain, version: 1 })),
      ],
      graph: {
        name: this.#name,
        node: this.#nodes.map((node) => this.#nodeProto(node)),
        initializer: this.#initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    });
  }

  #addNode(
    opType: string,
    inputs: readonly (Value | null)[],
    outputs: readonly Value[],
    options: NodeOptions,
  ): void {
    for (const input of inputs)
      if (input !== null && !this.#values.has(input))
        throw new Error(`${opType} takes ${input.name}, which does not belong to graph ${this.#name}.`);
    if (options.domain !== undefined) this.#domains.add(options.domain);
    this.#nodes.push({
      name: this.#uniqueName(`node_${options.name ?? opType}`),
      opType,
      inputs,
      outputs,
      options,
    });
  }

  #nodeProto({ name, opType, inputs, outputs, options }: Node): NodeProto {
    const nameOf = (value: Value | null): string =>
      value === null ? "" : (this.#outputNames.get(value) ?? value.name);
    return {
      name,
      opType,
      ...(options.domain === undefined ? {} : { domain: options.domain }),
      input: inputs.map(nameOf),
      output: outputs.map(nameOf),
      attribute: Object.entries(options.attributes ?? {}).map(([key, value]) => attributeProto(key, value)),
    };
  }

  #newValue(wanted: string): Value {
    const value: Value = { name: this.#uniqueName(wanted) };
    this.#values.add(value);
    return value;
  }

  #exactValue(name: string): Value {
    const value = this.#newValue(name);
    if (value.name !== name) throw new Error(`Graph ${this.#name} has a value named ${name} already.`);
    return value;
  }

  #uniqueName(wanted: string): string {
    let count = this.#names.get(wanted) ?? 0;
    let name = wanted;
    while (this.#names.has(name)) name = `${wanted}_${++count}`;
    this.#names.set(wanted, count);
    if (name !== wanted) this.#names.set(name, 0);
    return name;
  }
}

interface Node {
  readonly name: string;
  readonly opType: string;
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
  readonly options: NodeOptions;
}

function attributeProto(name: string, attribute: Attribute): AttributeProto {
  if ("i" in attribute) return { name, type: ONNX_ATTRIBUTE_TYPES.i, i: attribute.i };
  if ("f" in attribute) return { name, type: ONNX_ATTRIBUTE_TYPES.f, f: attribute.f };
  if ("s" in attribute)
    return { name, type: ONNX_ATTRIBUTE_TYPES.s, s: new TextEncoder().encode(attribute.s) };
  if ("ints" in attribute) return { name, type: ONNX_ATTRIBUTE_TYPES.ints, ints: attribute.ints };
  return { name, type: ONNX_ATTRIBUTE_TYPES.floats, floats: attribute.floats };
}

function valueInfo(name: string, dataType: OnnxDataType, dims: readonly Dimension[]): ValueInfoProto {
  const dim = dims.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: ONNX_DATA_TYPES[dataType], shape: { dim } } } };
}

function dataTypeOf(data: ConstantData): OnnxDataType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Uint16Array) return "float16";
  if (data instanceof BigInt64Array) return "int64";
  if (data instanceof Int32Array) return "int32";
  return "uint8";
}
