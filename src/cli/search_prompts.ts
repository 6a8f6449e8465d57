// What searches render when nobody says: different objects, motions, grounds and camera moves, in words that weft-nano
// knows.

/** Four sentences. */
export const SEARCH_PROMPTS: string[] = [
  "a large shiny red ball bounces on grass in daylight, static camera",
  "a big blue cube spins on a checkered floor at sunset, the camera orbits left",
  "a small shiny yellow pyramid rises on water at night",
  "a large matte green cylinder rolls right on snow, the camera pans right",
];
