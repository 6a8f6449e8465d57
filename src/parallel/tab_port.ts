// Ports between a tab and the tabs that it opens: the helper hands its opener one end of a channel. They share a process,
// so buffers are moved between them without a copy. Tabs that nobody opened come through the broker (port_broker.ts).

import * as v from "valibot";
import { openerGreetingSchema } from "./tab_protocol.ts";

/** In a helper: a port to its opener, for the tab `tab`; undefined when nobody opened it, or the opener is closed. */
export function portToOpener(tab: string): MessagePort | undefined {
  const opener = globalThis.opener as Window | null;
  if (opener === null || opener.closed) return undefined;
  const { port1, port2 } = new MessageChannel();
  opener.postMessage({ type: "weft-guest", tab }, globalThis.location.origin, [port2]);
  return port1;
}

/** In the tab `own`: takes ports from helpers of the same origin until the returned function is called. */
export function acceptOpened(own: string, onPort: (port: MessagePort) => void): () => void {
  const listen = ({ origin, data, ports: [port] }: MessageEvent): void => {
    if (origin !== globalThis.location.origin) return;
    const greeting = v.safeParse(openerGreetingSchema, data);
    if (greeting.success && greeting.output.tab === own && port) onPort(port);
  };
  globalThis.addEventListener("message", listen);
  return () => globalThis.removeEventListener("message", listen);
}
