// JSON that people read and diff: what fits into a line stands on one, the rest is broken up. JSON.stringify's own indent
// gives every number of a list a line.

/** Characters of a line, without its indent. */
const WIDTH = 240;

/** The JSON of plain data, indented by one space a level. Keys whose value is undefined are left out. */
export function readableJson(value: unknown): string {
  return lines(value, "");
}

function lines(value: unknown, indent: string): string {
  const line = JSON.stringify(value);
  if (line === undefined || line.length <= WIDTH || typeof value !== "object" || value === null) return line;
  const inner = `${indent} `;
  const parts = Array.isArray(value)
    ? value.map((item: unknown) => lines(item ?? null, inner))
    : Object.entries(value).flatMap(([key, item]) =>
        item === undefined ? [] : [`${JSON.stringify(key)}: ${lines(item, inner)}`],
      );
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  return `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${indent}${close}`;
}
