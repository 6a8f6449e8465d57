// Brings tabs together that know nothing of each other but a name: a BroadcastChannel cannot carry ports, a SharedWorker
// can. It makes a channel, gives each side one end, and is out of it.

import * as v from "valibot";
import {
  type BrokerAnswer,
  brokerAnswerSchema,
  type BrokerRequest,
  brokerRequestSchema,
} from "./tab_protocol.ts";

/** One tab's connection to the broker. */
type ClientPort = Pick<MessagePort, "postMessage" | "addEventListener" | "start">;

/** How the broker knows that a tab that leads is there no more. */
type WhenGone = (tab: string) => Promise<void>;

/** The broker's work, for the SharedWorker that runs it; to be called with every port that connects. */
export function createPortBroker(whenGone: WhenGone): (client: ClientPort) => void {
  const leaders = new Map<string, ClientPort>();
  const lead = (tab: string, client: ClientPort): void => {
    leaders.set(tab, client);
    void whenGone(tab).then(() => {
      if (leaders.get(tab) === client) leaders.delete(tab);
    });
  };
  const join = (tab: string, client: ClientPort): void => {
    const leader = leaders.get(tab);
    if (leader === undefined) {
      client.postMessage({ type: "nobody", tab } satisfies BrokerAnswer);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    const answer: BrokerAnswer = { type: "port", tab };
    leader.postMessage(answer, [port1]);
    client.postMessage(answer, [port2]);
  };
  return (client) => {
    client.addEventListener("message", ({ data }) => {
      const request = v.safeParse(brokerRequestSchema, data);
      if (!request.success) return;
      const { type, tab } = request.output;
      if (type === "lead") lead(tab, client);
      else join(tab, client);
    });
    client.start();
  };
}

/** A tab's end of the broker. */
export interface BrokerClient {
  /** Takes ports for the tab `own` from now on. */
  lead(own: string, onPort: (port: MessagePort) => void): void;
  /** A port to the tab; undefined when the broker knows of none. */
  join(tab: string): Promise<MessagePort | undefined>;
}

/** Connects to the broker behind a SharedWorker's port. */
export function connectToBroker(broker: MessagePort): BrokerClient {
  const waiting = new Map<string, (port: MessagePort | undefined) => void>();
  let ownTab: string | undefined;
  let take: (port: MessagePort) => void = () => undefined;
  broker.addEventListener("message", ({ data, ports: [port] }) => {
    const answer = v.safeParse(brokerAnswerSchema, data);
    if (!answer.success) return;
    const { tab } = answer.output;
    if (tab === ownTab && port !== undefined) take(port);
    else waiting.get(tab)?.(port);
    waiting.delete(tab);
  });
  broker.start();
  const ask = (request: BrokerRequest): void => broker.postMessage(request);
  return {
    lead(own, onPort) {
      ownTab = own;
      take = onPort;
      ask({ type: "lead", tab: own });
    },
    join: (tab) =>
      new Promise((resolve) => {
        waiting.set(tab, resolve);
        ask({ type: "join", tab });
      }),
  };
}
