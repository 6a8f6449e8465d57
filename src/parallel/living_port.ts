// Browsers do not say when the other side of a MessagePort is gone, so its Web Lock does.

import { type Port, portOf } from "./port.ts";
import { type Locks, whenUnlocked } from "./web_lock.ts";

/** What ends a connection besides its own messages. */
export interface Life {
  /** The Web Lock that the other side holds for as long as it lives. */
  readonly lock: string;
  /** Somebody on this side wants it to end. */
  readonly signal?: AbortSignal | undefined;
  /** @default the origin's */
  readonly locks?: Locks | undefined;
}

/** A port whose listener hears at once that the other side has gone, or that the signal has come. */
export function livingPort(messagePort: MessagePort, { lock, signal, locks }: Life): Port {
  const port = portOf(messagePort);
  const closed = new AbortController();
  return {
    post: (message, transfer) => port.post(message, transfer),
    listen({ onMessage, onClose }) {
      const end = (): void => {
        if (closed.signal.aborted) return;
        closed.abort();
        port.close();
        onClose();
      };
      port.listen({ onMessage, onClose: end });
      signal?.addEventListener("abort", end, { signal: closed.signal });
      if (signal?.aborted) end();
      whenUnlocked(lock, { signal: closed.signal, locks }).then(end, () => undefined);
    },
    close() {
      closed.abort();
      port.close();
    },
  };
}
