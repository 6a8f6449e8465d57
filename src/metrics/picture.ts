// One frame, shrunk and taken apart once for all measures that look at it.

import { type Edges, findEdges } from "./edges.ts";
import { type ColourPlanes, lumaOf, type Plane, shrinkFrame } from "./frame_planes.ts";

/** A frame as the measures of motion and appearance see it. */
export interface Picture extends ColourPlanes {
  readonly luma: Plane;
  readonly edges: Edges;
}

/** Makes the picture of a frame's RGBA bytes, `factor` pixels a side becoming one. */
export function pictureOf(
  rgba: Uint8Array,
  size: { readonly width: number; readonly height: number; readonly factor: number },
): Picture {
  const planes = shrinkFrame(rgba, size, size.factor);
  const luma = lumaOf(planes);
  return { ...planes, luma, edges: findEdges(luma) };
}
