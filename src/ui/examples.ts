// Prompts of the world that weft-nano was trained on: its shapes, motions, grounds and skies.

/** What a chip says and what it writes into the prompt box. */
export const EXAMPLES: readonly { readonly label: string; readonly prompt: string }[] = [
  { label: "red ball on grass", prompt: "a large shiny red ball bounces on grass" },
  {
    label: "sunset chessboard",
    prompt: "a large shiny red ball bounces on a checkered floor at sunset, the camera orbits left",
  },
  { label: "purple ring", prompt: "a big glossy purple ring rolls right on sand under an overcast sky" },
  { label: "growing cylinder", prompt: "a big green cylinder grows on snow in daylight" },
  { label: "pyramid at night", prompt: "a small yellow pyramid rises on water at night" },
  {
    label: "ball behind a cone",
    prompt: "a small yellow ball rolls behind a large purple cone on sand at sunset, static camera",
  },
];
