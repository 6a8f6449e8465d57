// Dawn asks for news in every turn of the event loop; it is to do so less often, and nobody else is to notice.
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { releaseDawn, startDawn } from "../../../src/cli/dawn_node.ts";
import { Pacer } from "../../../src/cli/paced_polling_node.ts";

test("callbacks run in a later turn, once each, and no more than one bunch in a pause", () => {
  const turns: (() => void)[] = [];
  const log: string[] = [];
  let now = 0;
  const pacer = new Pacer(
    (callback) => turns.push(callback),
    10,
    () => now,
  );
  const again = (name: string) => (): void => {
    log.push(`${name} at ${now}`);
    if (now < 30) pacer.run(again(name));
  };
  pacer.run(again("a"));
  pacer.run(again("b"));
  expect(log).toEqual([]);
  while (turns.length > 0) {
    const [turn] = turns.splice(0, 1);
    turn?.();
    expect(turns.length).toBeLessThanOrEqual(1);
    now += 2;
  }
  expect(log).toEqual(["a at 0", "b at 0", "a at 10", "b at 10", "a at 20", "b at 20", "a at 30", "b at 30"]);
});

test("Dawn's questions come in pauses, and other callbacks as before", async () => {
  const real = globalThis.setImmediate;
  const given = new Set<unknown>();
  globalThis.setImmediate = new Proxy(real, {
    apply(target, self, args: Parameters<typeof real>) {
      given.add(args[0]);
      return Reflect.apply(target, self, args);
    },
  });
  const gpu = startDawn({ backend: "null" });
  try {
    const adapter = await gpu.requestAdapter();
    const device = await adapter?.requestDevice();
    given.clear();
    for (let round = 0; round < 100; round++) await device?.queue.onSubmittedWorkDone();
    // The pacer's own function, again and again.
    expect(given.size).toBe(1);
    expect(await promisify(setImmediate)("value")).toBe("value");
    let isRun = false;
    clearImmediate(setImmediate(() => (isRun = true)));
    await promisify(setImmediate)();
    expect(isRun).toBe(false);
    device?.destroy();
  } finally {
    releaseDawn();
  }
});
