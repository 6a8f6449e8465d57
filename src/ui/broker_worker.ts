// The SharedWorker through which tabs that did not open each other get connected. Wiring only; the work is
// parallel/port_broker.ts.
import { createPortBroker } from "../parallel/port_broker.ts";
import { tabLock, whenUnlocked } from "../parallel/web_lock.ts";

const forever = new AbortController().signal;
const connect = createPortBroker((tab) => whenUnlocked(tabLock(tab), { signal: forever }));

// The compiler knows dedicated workers only.
globalThis.addEventListener("connect", (event) => {
  const [port] = (event as MessageEvent).ports;
  if (port) connect(port);
});
