import { expect, test } from "vitest";
import { QueueRoom } from "../../../src/gpu/queue_room.ts";

/** A piece that ends when it is told to. */
function piece(): { computed: Promise<void>; end: () => void; fail: () => void } {
  let [end, fail] = [(): void => undefined, (): void => undefined];
  const computed = new Promise<void>((resolve, reject) => {
    [end, fail] = [resolve, () => reject(new Error("lost"))];
  });
  return { computed, end, fail };
}

test("a third piece waits until one of two is computed, or has failed", async () => {
  const room = new QueueRoom();
  const [one, two, three] = [piece(), piece(), piece()];
  await room.free();
  room.take(one.computed);
  await room.free();
  room.take(two.computed);
  for (const leave of [two.fail, one.end]) {
    let isFree = false;
    const free = room.free().then(() => (isFree = true));
    await new Promise((resolve) => setTimeout(resolve));
    expect(isFree).toBe(false);
    leave();
    await free;
    room.take(three.computed);
  }
});
