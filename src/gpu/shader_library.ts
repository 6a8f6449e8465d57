// The shared WGSL files, bundled as text: what `#import shared/…` can name.

const FILES = import.meta.glob<string>("../../shaders/shared/*.wgsl", {
  query: "?raw",
  import: "default",
  eager: true,
});

/** Shared sources by import name, for instance "shared/activation". */
export const SHADER_LIBRARY: ReadonlyMap<string, string> = new Map(
  Object.entries(FILES).map(([path, text]) => [
    path.replace(/^.*shaders\//, "").replace(/\.wgsl$/, ""),
    text,
  ]),
);
