// A picture of what each worker did when: a row for each, a bar for each step.
import type { Span, WorkerRow } from "../parallel/worker_timeline.ts";

const SVG = "http://www.w3.org/2000/svg";
const LABEL_WIDTH = 62;
const ROW_HEIGHT = 16;
const BAR_HEIGHT = 10;
const AXIS_HEIGHT = 14;
/** Steps in a picture at most; of longer renders the last ones. */
const MAX_STEPS = 60;

const KIND_NAMES: Readonly<Record<Span["kind"], string>> = {
  compute: "computing",
  data: "waiting for data",
  others: "waiting for the step’s end",
};

/** Draws the rows, `width` pixels wide; undefined while there is nothing to draw. */
export function drawTimeline(rows: readonly WorkerRow[], width: number): SVGElement | undefined {
  const spans = rows.flatMap((row) => row.spans);
  if (spans.length === 0) return undefined;
  const lastStep = Math.max(...spans.map(({ step }) => step));
  const isShown = ({ step }: Span): boolean => step > lastStep - MAX_STEPS;
  const start = Math.min(...spans.filter(isShown).map((span) => span.start));
  const end = Math.max(...spans.map((span) => span.end));
  const x = (time: number): number =>
    LABEL_WIDTH + ((width - LABEL_WIDTH) * (time - start)) / Math.max(1e-3, end - start);
  const height = rows.length * ROW_HEIGHT + AXIS_HEIGHT;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.ariaLabel = describe(rows, end - start);
  for (const [index, row] of rows.entries()) {
    const top = index * ROW_HEIGHT;
    svg.append(text(row.name, { x: 0, y: top + BAR_HEIGHT, class: "label" }));
    for (const span of row.spans.filter(isShown)) {
      const length = Math.max(0.75, x(span.end) - x(span.start) - 0.5);
      const bar = shape("rect", {
        x: x(span.start),
        y: top + 1,
        width: length,
        height: BAR_HEIGHT,
        rx: 1.5,
        class: span.kind,
      });
      const title = shape("title", {});
      title.textContent = `step ${span.step}: ${KIND_NAMES[span.kind]}, ${(span.end - span.start).toFixed(1)} s`;
      bar.append(title);
      svg.append(bar);
    }
  }
  svg.append(text(`${start.toFixed(0)} s`, { x: LABEL_WIDTH, y: height - 2, class: "tick" }));
  svg.append(text(`${end.toFixed(0)} s`, { x: width, y: height - 2, class: "tick end" }));
  return svg;
}

/** "this tab computed 82 % of 12 s, worker 1 …". */
function describe(rows: readonly WorkerRow[], seconds: number): string {
  const shares = rows.map(({ name, spans }) => {
    const computed = spans.filter(({ kind }) => kind === "compute");
    const all = spans.reduce((sum, { start, end }) => sum + end - start, 0);
    const share = computed.reduce((sum, { start, end }) => sum + end - start, 0) / Math.max(1e-9, all);
    return `${name} computed ${Math.round(100 * share)} %`;
  });
  return `Timeline of ${seconds.toFixed(0)} seconds: ${shares.join(", ")} of its steps' time.`;
}

function text(content: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const element = shape("text", attributes);
  element.textContent = content;
  return element;
}

function shape(name: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
