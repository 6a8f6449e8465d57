// Turns a kernel file into the WGSL that is compiled: a generated header, `#import` of shaders/shared, and
// `#repeat` blocks written out. There is no other metaprogramming and no conditional text.
// What each directive means for a kernel's author is written in shaders/README.md.

/** Values a kernel is specialised for. Numbers become `const NAME = …u;`, strings become `alias name = …;`. */
export type ShaderConstants = Readonly<Record<string, number | string>>;

/** What turns a kernel file into one module. */
export interface ShaderVariant {
  readonly constants: ShaderConstants;
  /** What `<name>` stands for in `#import shared/weight_<storage>`: the ways an operand may be stored. */
  readonly imports?: Readonly<Record<string, string>>;
  /** Other values for constants of the file's own, `const NAME = …u;`: what a candidate tile changes. */
  readonly settings?: Readonly<Record<string, number>>;
  /** WGSL `enable` extensions, for instance "f16". */
  readonly enables?: readonly string[];
}

/**
 * Expands a kernel file. Directives stand alone on their line:
 * - `#import shared/NAME`: the file shaders/shared/NAME.wgsl, once; `<choice>` inside NAME is replaced.
 * - `#repeat i COUNT` … `#end`: the lines in between, COUNT times, with `$i` replaced by 0, 1, …. COUNT is a number
 *   or a constant; blocks nest. Needed because arrays of registers indexed by a loop variable spill (ARCHITECTURE.md).
 *
 * @param library shared sources by name ("shared/reduce").
 */
export function expandShader(
  source: string,
  variant: ShaderVariant,
  library: ReadonlyMap<string, string>,
): string {
  const imported = new Set<string>();
  const body = resolveImports(source, { choices: variant.imports ?? {}, library, imported });
  const text = changeConstants(body, variant.settings ?? {});
  return header(variant) + repeatBlocks(text.split("\n"), variant.constants).join("\n");
}

function changeConstants(source: string, settings: Readonly<Record<string, number>>): string {
  return Object.entries(settings).reduce((text, [name, value]) => {
    const declaration = new RegExp(`^const ${name} = \\d+u;`, "m");
    if (!declaration.test(text))
      throw new Error(`Cannot set ${name}: the kernel has no line "const ${name} = …u;".`);
    return text.replace(declaration, `const ${name} = ${value}u;`);
  }, source);
}

function header({ constants, enables = [] }: ShaderVariant): string {
  const lines = enables.map((name) => `enable ${name};`);
  for (const [name, value] of Object.entries(constants)) {
    if (typeof value === "string") lines.push(`alias ${name} = ${value};`);
    else lines.push(`const ${name} = ${Number.isInteger(value) ? `${value}u` : `${value}f`};`);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

interface ImportContext {
  readonly choices: Readonly<Record<string, string>>;
  readonly library: ReadonlyMap<string, string>;
  readonly imported: Set<string>;
}

function resolveImports(source: string, context: ImportContext): string {
  return source.replaceAll(/^#import (\S+)$/gm, (_line, pattern: string) => {
    const name = pattern.replaceAll(
      /<(\w+)>/g,
      (_whole, choice: string) => context.choices[choice] ?? choice,
    );
    if (context.imported.has(name)) return "";
    context.imported.add(name);
    const text = context.library.get(name);
    if (text === undefined) throw new Error(`Cannot import ${name}: there is no shaders/${name}.wgsl.`);
    return resolveImports(text.trimEnd(), context);
  });
}

function repeatBlocks(lines: readonly string[], constants: ShaderConstants): string[] {
  const output: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? "";
    const open = /^\s*#repeat (\w+) (\w+)$/.exec(line);
    if (open === null) {
      if (line.trim() === "#end") throw new Error(`#end on line ${i + 1} ends no #repeat.`);
      output.push(line);
      continue;
    }
    const end = matchingEnd(lines, i);
    const [, variable = "", count = ""] = open;
    const block = lines.slice(i + 1, end);
    for (let index = 0; index < repeatCount(count, constants); index++) {
      const copy = block.map((text) =>
        text.replaceAll(new RegExp(`\\$${variable}(?![a-zA-Z0-9])`, "g"), String(index)),
      );
      output.push(...repeatBlocks(copy, constants));
    }
    i = end;
  }
  return output;
}

function matchingEnd(lines: readonly string[], start: number): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    const line = (lines[i] ?? "").trim();
    if (line.startsWith("#repeat ")) depth++;
    if (line === "#end" && --depth === 0) return i;
  }
  throw new Error(`#repeat on line ${start + 1} has no #end.`);
}

function repeatCount(count: string, constants: ShaderConstants): number {
  const value = /^\d+$/.test(count) ? Number(count) : constants[count];
  if (typeof value !== "number")
    throw new Error(`#repeat needs a number or a numeric constant, not ${count}.`);
  return value;
}
