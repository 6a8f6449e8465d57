// A port that does not behave: what a broken or ill-meaning tab could send. Not a test.
import type { Port } from "../../src/parallel/port.ts";

/** How it misbehaves. */
export type Meddling = "none" | "everything twice" | "strangers' messages" | "nonsense";

/** A port whose sender meddles as long as `now` says so. */
export function meddling(port: Port, now: () => Meddling): Port {
  return {
    listen: (listener) => port.listen(listener),
    close: () => port.close(),
    post(message, transfer) {
      switch (now()) {
        case "none":
          break;
        case "everything twice":
          port.post(structuredClone(message));
          break;
        case "strangers' messages":
          port.post({ ...(message as object), token: "of another job" });
          break;
        case "nonsense":
          for (const each of [null, 7, "stepped", { token: "clips-test" }, new Uint8Array(3)])
            port.post(each);
      }
      port.post(message, transfer);
    },
  };
}
