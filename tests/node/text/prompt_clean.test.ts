// Prompts and what diffusers' prompt_clean makes of them (ftfy 6.3.1, Python 3.11).
import { expect, test } from "vitest";
import { cleanPrompt } from "../../../src/text/prompt_clean.ts";

test.each([
  ["a cat  walks\n on\tthe grass ", "a cat walks on the grass"],
  ["\u201csmart\u201d \u2018quotes\u2019 \u2014 it\u2019s", "\"smart\" 'quotes' \u2014 it's"],
  ["&lt;b&gt; fish &amp; chips &amp;amp; tea", "<b> fish & chips & tea"],
  ["caf\u00c3\u00a9 at noon", "caf\u00e9 at noon"],
  ["it\u00e2\u20ac\u2122s raining", "it's raining"],
  ["\u00f0\u0178\u0161\u20ac rocket", "\ud83d\ude80 rocket"],
  ["na\u00c3\u00afve & r\u00c3\u00a9sum\u00c3\u00a9", "na\u00efve & r\u00e9sum\u00e9"],
  ["\ufb01re and \ufb02ame", "fire and flame"],
  ["\uff46\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff54\uff48\uff01", "full width!"],
  ["cafe\u0301", "caf\u00e9"],
  ["a\u0000b\u0007c", "abc"],
  ["\ufeffhello", "hello"],
  ["red\u001b[31m ball\u001b[0m", "red ball"],
  ["line\r\nbreak\u2028here\u0085now", "line break here\u2026now"],
  ["&eacute;t&eacute; &#8212; &#x1F680; &#146;", "\u00e9t\u00e9 \u2014 \ud83d\ude80 '"],
  ["&nbsp;x&nbsp;", "x"],
  ["&notanentity; &copy 2020", "\u00acanentity; \u00a9 2020"],
  ["\u00bd cup \u2122 \u00a9 x\u00b2", "\u00bd cup \u2122 \u00a9 x\u00b2"],
  [
    "\u3000\u4e00\u53ea\u732b\u5728\u8349\u5730\u4e0a\u884c\u8d70\u3002\u3000",
    "\u4e00\u53ea\u732b\u5728\u8349\u5730\u4e0a\u884c\u8d70\u3002",
  ],
  ["\u30a2 \uff71\uff72\uff73", "\u30a2 \u30a2\u30a4\u30a6"],
  ["na\u00efve caf\u00e9 \u2014 \u2026", "na\u00efve caf\u00e9 \u2014 \u2026"],
  ["\u201cquoted\u201d \u2013 \u2018x\u2019", "\"quoted\" \u2013 'x'"],
  ["a < b &amp; c", "a < b & c"],
  ["\u200bzero width\u200d", "\u200bzero width\u200d"],
  ["&amp;lt;p&amp;gt;", "<p>"],
  ["\u00c3", "\u00c3"],
  ["S\u00e3o Paulo, N\u00c3O", "S\u00e3o Paulo, N\u00c3O"],
  ["\u00e9t\u00e9 \u00e0 la plage", "\u00e9t\u00e9 \u00e0 la plage"],
  ["doppelg\u00e4nger", "doppelg\u00e4nger"],
  ["e\u0301\u0301", "\u00e9\u0301"],
  ["\u00a0nbsp\u00a0", "nbsp"],
  ["Dz \u01f1 \u0133 \u0149", "Dz DZ ij 'n"],
  ["  ", ""],
  ["", ""],
  ["tea&#x0;cup &#128; &#xD800;", "tea\ufffdcup \u20ac \ufffd"],
  ["x\u000bv\fw", "xv w"],
  [" it\u2019s a \u201cdog\u201d\u2026 ", 'it\'s a "dog"\u2026'],
  [
    "emoji \ud83d\udc69\u200d\ud83d\udc69\u200d\ud83d\udc67 ok",
    "emoji \ud83d\udc69\u200d\ud83d\udc69\u200d\ud83d\udc67 ok",
  ],
  ["\ud83d lone", "\ufffd lone"],
])("cleanPrompt(%j)", (prompt, cleaned) => {
  expect(cleanPrompt(prompt)).toBe(cleaned);
});

test("cleanPrompt() changes nothing the second time", () => {
  for (const prompt of ["a cat walks on the grass, realistic", 'it\'s "quoted" – naïve café']) {
    expect(cleanPrompt(cleanPrompt(prompt))).toBe(cleanPrompt(prompt));
  }
});
