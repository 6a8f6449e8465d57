// The SharedWorker that brings tabs together which did not open each other.

/** A port to it; undefined where the browser has no SharedWorkers. */
export function openBroker(): MessagePort | undefined {
  if (!("SharedWorker" in globalThis)) return undefined;
  const worker = new SharedWorker(new URL("./broker_worker.ts", import.meta.url), {
    type: "module",
    name: "weft-broker",
  });
  return worker.port;
}
