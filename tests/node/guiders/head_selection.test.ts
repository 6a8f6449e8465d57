// Chosen heads: as text, as a file, and as the perturbation they become.
import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import {
  headsByText,
  headSelectionFromJson,
  headSelectionJson,
  parseHeadGains,
  perturbationOf,
  selectionOf,
  textOfHeads,
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

test("a perturbation tells its heads again, as they are typed", () => {
  const text = "4.0,4.2,7";
  const selection = selectionOf(perturbationOf(headsByText(text) ?? { heads: [] }, 0.3));
  expect(selection?.softness).toBe(0.3);
  expect(textOfHeads(selection ?? { heads: [] })).toBe(text);
  expect(selectionOf({ kind: "skipped_blocks", layers: [1] })).toBeUndefined();
});

test("parseHeadGains() reads the first round of a search, where there is one", () => {
  const candidates = [{ layer: 1, head: 2, gain: -0.5, scores: [1], gainError: null }];
  const file = headSelectionJson({ heads: [{ layer: 1 }] }, { search: { rounds: [{ candidates }] } });
  expect(parseHeadGains(file)).toEqual([{ layer: 1, head: 2, gain: -0.5 }]);
  expect(parseHeadGains(headSelectionJson({ heads: [{ layer: 1 }] }))).toEqual([]);
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
