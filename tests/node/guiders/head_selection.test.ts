// Chosen heads: as text, as a file, and as the perturbation they become.
import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import {
  headsByText,
  headSelectionFromJson,
  headSelectionJson,
  perturbationOf,
} from "../../../src/guiders/head_selection.ts";

test("headsByText() reads heads and whole layers, and nothing else", () => {
  expect(headsByText("4.0, 4.2,7")?.heads).toEqual([
    { layer: 4, head: 0 },
    { layer: 4, head: 2 },
    { layer: 7 },
  ]);
  for (const text of ["", "4.", "a", "4.0;7", "heads.json", "-1", "4.0.1"]) {
    expect(headsByText(text), text).toBeUndefined();
  }
});

test("perturbationOf() has one entry for every layer; a whole layer swallows its heads", () => {
  const heads = [
    { layer: 7, head: 3 },
    { layer: 4, head: 2 },
    { layer: 4, head: 0 },
    { layer: 4, head: 2 },
    { layer: 7 },
    { layer: 7, head: 1 },
  ];
  expect(perturbationOf({ heads }, 0.5)).toEqual({
    kind: "heads",
    heads: [
      { layers: [4], heads: [0, 2], strength: 0.5 },
      { layers: [7], strength: 0.5 },
    ],
  });
});

test("a selection comes back from its file; what a search says besides is ignored", () => {
  const selection = { heads: [{ layer: 1, head: 2 }, { layer: 3 }], softness: 0.25 };
  const text = JSON.stringify(headSelectionJson(selection, { search: { rounds: 2 } }));
  expect(headSelectionFromJson(text, "h.json")).toEqual(selection);
});

test.each([
  ["{", /h.json is not JSON/],
  ["[]", /h.json/],
  ['{"format":"weft-masks","version":1,"heads":[{"layer":1}]}', /"weft-masks" is not known/],
  ['{"format":"weft-heads","version":2,"heads":[{"layer":1}]}', /newer than this version/],
  ['{"format":"weft-heads","version":1,"heads":[]}', /must name at least one head/],
  ['{"format":"weft-heads","version":1,"heads":[{"layer":-1}]}', /heads.0.layer/],
  ['{"format":"weft-heads","version":1,"heads":[{"layer":1}],"softness":2}', /softness/],
])("%s is refused with a sentence", (text, message) => {
  expect(() => headSelectionFromJson(text, "h.json")).toThrow(InputError);
  expect(() => headSelectionFromJson(text, "h.json")).toThrow(message);
});
