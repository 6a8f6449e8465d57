// Ports between a tab and the helper tabs that it opens: the helper hands its opener one end of a channel. Same origin
// only, and with the job's token; after that nothing goes through the windows any more.

import * as v from "valibot";
import { type Port, portOf } from "./port.ts";

const GREETING = "weft-worker";

const greetingSchema = v.object({ type: v.literal(GREETING), token: v.string() });

/** In a tab that was opened to help: its port to the opener. Throws when nobody opened it. */
export function portToOpener(token: string): Port {
  const opener = globalThis.opener as Window | null;
  if (opener === null) throw new Error("This tab was not opened by a tab that renders.");
  const { port1, port2 } = new MessageChannel();
  opener.postMessage({ type: GREETING, token }, globalThis.location.origin, [port2]);
  return portOf(port1);
}

/** In the tab that renders: takes helpers in until the returned function is called. */
export function acceptTabs(token: string, onPort: (port: Port) => void): () => void {
  const listen = ({ origin, data, ports }: MessageEvent): void => {
    if (origin !== globalThis.location.origin) return;
    const greeting = v.safeParse(greetingSchema, data);
    const [port] = ports;
    if (greeting.success && greeting.output.token === token && port) onPort(portOf(port));
  };
  globalThis.addEventListener("message", listen);
  return () => globalThis.removeEventListener("message", listen);
}
