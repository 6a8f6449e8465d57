// A helper's side of a guest list: it says hello, hears whether it is let in, and gets the ports of every job.

import * as v from "valibot";
import { type GuestMessage, type HostMessage, hostSchema } from "./tab_protocol.ts";

/** A job to help with. */
export interface VisitJob {
  readonly token: string;
  readonly prompt: string;
  readonly clips: MessagePort;
  readonly segments: MessagePort;
}

/** What a helper does with what its host says. */
export interface Visitor {
  readonly onAsked: () => void;
  readonly onAdmitted: (name: string) => void;
  readonly onRefused: (reason: string) => void;
  readonly onJob: (job: VisitJob) => void;
  /** The job has ended, one way or the other. */
  readonly onOver: () => void;
}

/** Says hello on a port to a tab, and listens from then on. */
export function visit(port: MessagePort, hello: Omit<GuestMessage, "type">, visitor: Visitor): void {
  port.addEventListener("message", ({ data, ports }) => {
    const parsed = v.safeParse(hostSchema, data);
    if (parsed.success) hear(parsed.output, ports, visitor);
  });
  port.start();
  port.postMessage({ type: "hello", ...hello } satisfies GuestMessage);
}

function hear(message: HostMessage, ports: readonly MessagePort[], visitor: Visitor): void {
  switch (message.type) {
    case "asked":
      return visitor.onAsked();
    case "admitted":
      return visitor.onAdmitted(message.name);
    case "refused":
      return visitor.onRefused(message.reason);
    case "job": {
      const [clips, segments] = ports;
      if (clips === undefined || segments === undefined) return undefined;
      const { token, prompt } = message;
      return visitor.onJob({ token, prompt, clips, segments });
    }
    case "over":
      return visitor.onOver();
  }
}
