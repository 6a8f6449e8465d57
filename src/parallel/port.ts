// The one thing the parallel code knows of transports: a port to one other party that carries structured data both ways,
// in order while all is well. Ports between threads, workers and tabs are MessagePorts; between processes, sockets.

/** One end of a connection. */
export interface Port {
  /** What is posted is written out, so arrays may be parts of larger ones. @default false */
  readonly copies?: boolean;
  /**
   * Sends a message; the buffers are moved where the transport can, and unusable afterwards.
   *
   * @param onFree called when arrays that were not moved may change
   */
  post(message: unknown, transfer?: readonly Transferred[], onFree?: () => void): void;
  /** Takes messages from now on; those that came before are kept until then. One listener. */
  listen(listener: PortListener): void;
  /** Ends the connection; the other side's `onClose` is called. */
  close(): void;
}

/** What a connection brings. */
export interface PortListener {
  readonly onMessage: (message: unknown) => void;
  /** Large arrays of bytes may come as `DistantBytes`. @default false */
  readonly takesDistant?: boolean | undefined;
  /** The other side is gone; called at most once, never after an own `close`. */
  readonly onClose: () => void;
}

/** What may be moved with a message. */
export type Transferred = ArrayBuffer | MessagePort;

/** A MessagePort as a port. Node says when the other side is gone; in browsers see living_port.ts. */
export function portOf(messagePort: MessagePort): Port {
  let isClosed = false;
  return {
    post(message, transfer = [], onFree) {
      if (!isClosed) messagePort.postMessage(message, [...transfer]);
      onFree?.();
    },
    listen({ onMessage, onClose }) {
      messagePort.addEventListener("message", ({ data }) => onMessage(data));
      messagePort.addEventListener("close", () => {
        if (isClosed) return;
        isClosed = true;
        onClose();
      });
      messagePort.start();
    },
    close() {
      isClosed = true;
      messagePort.close();
    },
  };
}
