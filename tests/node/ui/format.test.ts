import { expect, test } from "vitest";
import {
  formatBytes,
  formatMemory,
  formatSeconds,
  formatTimeLeft,
  videoFileName,
} from "../../../src/ui/format.ts";

test.each([
  [0, "0 B"],
  [812, "812 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [999_499, "999 kB"],
  [999_500, "1.0 MB"],
  [17_604_123, "17.6 MB"],
  [1.25e9, "1.3 GB"],
])("%d bytes read as %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test("memory is told in binary units", () => {
  expect(formatMemory(2 ** 30)).toBe("1 GiB");
  expect(formatMemory(128 * 2 ** 20)).toBe("128 MiB");
  expect(formatMemory(4 * 2 ** 30 - 4)).toBe("4 GiB");
});

test.each([
  [0.84, "0.8 s"],
  [9.96, "10 s"],
  [59.4, "59 s"],
  [59.6, "1 min"],
  [80, "1 min 20 s"],
  [3900, "1 h 5 min"],
])("%d seconds read as %s", (seconds, text) => expect(formatSeconds(seconds)).toBe(text));

test.each([
  [1, "a few seconds left"],
  [6, "about 10 s left"],
  [41, "about 45 s left"],
  [118, "about 2 min left"],
  [130, "about 2 min 30 s left"],
  [3500, "about 59 min left"],
])("%d seconds left read as %s", (seconds, text) => expect(formatTimeLeft(seconds)).toBe(text));

test("a video is named after its prompt and seed, without characters that file systems refuse", () => {
  expect(videoFileName("A large, shiny red ball!", 7, "mp4")).toBe("a-large-shiny-red-ball-7.mp4");
  expect(videoFileName("../etc: ‘x’", 1, "gif")).toBe("etc-x-1.gif");
  expect(videoFileName("  ", 2, "webm")).toBe("video-2.webm");
  expect(videoFileName("word ".repeat(40), 3, "mp4").length).toBeLessThan(70);
});
