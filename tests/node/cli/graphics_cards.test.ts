// Which cards a host has, and which of them a user means.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { chooseCards, listCards } from "../../../src/cli/graphics_cards.ts";

const root = mkdtempSync(join(tmpdir(), "weft-cards-"));
afterAll(() => rmSync(root, { recursive: true }));

/** Folders as the driver fills them; `told` are minors by place on the bus. */
function host(name: string, files: readonly string[], told: Readonly<Record<string, number>> = {}) {
  const devices = join(root, name, "dev");
  const driver = join(root, name, "gpus");
  mkdirSync(devices, { recursive: true });
  for (const file of files) writeFileSync(join(devices, file), "");
  for (const [bus, minor] of Object.entries(told)) {
    mkdirSync(join(driver, bus), { recursive: true });
    const lines = ["Model: \t\t NVIDIA H200", `GPU UUID: \t GPU-${minor}f2e`, `Device Minor: \t ${minor}`];
    writeFileSync(join(driver, bus, "information"), lines.join("\n"));
  }
  return { devices, driver };
}

describe.runIf(process.platform === "linux")("the cards of a host", () => {
  test("are its card files, by number, and nothing else of the driver's", () => {
    const names = ["nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"];
    const folders = host("plain", names);
    expect(listCards(folders)).toEqual([
      { number: 0, file: join(folders.devices, "nvidia2") },
      { number: 1, file: join(folders.devices, "nvidia10") },
    ]);
  });

  test("stand in nvidia-smi's order, by place on the bus, where the driver tells it", () => {
    const folders = host("told", ["nvidia0", "nvidia1"], { "0000:9b:00.0": 0, "0000:18:00.0": 1 });
    expect(listCards(folders)).toEqual([
      { number: 0, file: join(folders.devices, "nvidia1"), uuid: "GPU-1f2e" },
      { number: 1, file: join(folders.devices, "nvidia0"), uuid: "GPU-0f2e" },
    ]);
  });

  test("are those a container was given, whatever else the driver tells", () => {
    const told = { "0000:18:00.0": 0, "0000:2a:00.0": 1, "0000:3a:00.0": 2 };
    const folders = host("container", ["nvidia2", "nvidia1"], told);
    expect(listCards(folders).map(({ file }) => file.slice(-1))).toEqual(["1", "2"]);
  });

  test("are not those that are hidden, nor those that may not be opened, of which only the first count", () => {
    const folders = host("hidden", ["nvidia3"]);
    symlinkSync("/dev/null", join(folders.devices, "nvidia1"));
    symlinkSync("/dev/nothing", join(folders.devices, "nvidia0"));
    expect(listCards(folders)).toEqual([{ number: 1, file: join(folders.devices, "nvidia3") }]);
  });

  test("are none without the driver", () => {
    expect(listCards({ devices: join(root, "none"), driver: join(root, "none") })).toEqual([]);
  });
});

const CARDS = ["GPU-a1", "GPU-b2", "GPU-b3"].map((uuid, number) => ({
  number,
  file: `/dev/nvidia${number}`,
  uuid,
}));

test.each([
  [undefined, [0, 1, 2]],
  ["1", [1]],
  ["2, 0", [2, 0]],
  ["GPU-b3,0", [2, 0]],
  ["1,7,0", [1]],
  ["", [0, 1, 2]],
  ["-1", [0, 1, 2]],
  ["GPU-c", [0, 1, 2]],
])("CUDA_VISIBLE_DEVICES=%s chooses %o", (list, numbers) => {
  expect(chooseCards(CARDS, list).map(({ number }) => number)).toEqual(numbers);
});
