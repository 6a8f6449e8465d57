// What exchanges of a worker have moved, and how much of the time that took had something to be computed meanwhile.

/** Totals of a worker's exchanges. */
export interface ExchangeStatistics {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Milliseconds from sending to arrival, summed over what was waited for: of each the last message. */
  readonly transferMs: number;
  /** Milliseconds of them in which the receiver had nothing left to compute. */
  readonly exposedMs: number;
  /** Milliseconds in which the receiver had nothing left to compute, its peers' computing included. */
  readonly waitedMs: number;
}

/** Nothing yet. */
export const NO_EXCHANGE: ExchangeStatistics = {
  bytesSent: 0,
  bytesReceived: 0,
  transferMs: 0,
  exposedMs: 0,
  waitedMs: 0,
};

/** When a message was sent and when it came; milliseconds since 1970. */
export interface Delivery {
  readonly sentAt: number;
  readonly arrivedAt: number;
}

/**
 * The times of messages that were waited for together.
 *
 * @param idleFrom when nothing was left to compute without them; Infinity when that has not happened yet
 */
export function deliveryTimes(
  deliveries: readonly Delivery[],
  idleFrom: number,
): Pick<ExchangeStatistics, "transferMs" | "exposedMs" | "waitedMs"> {
  const last = deliveries.reduce((a, b) => (b.arrivedAt > a.arrivedAt ? b : a));
  const { sentAt, arrivedAt } = last;
  return {
    transferMs: Math.max(0, arrivedAt - sentAt),
    exposedMs: Math.max(0, arrivedAt - Math.max(sentAt, idleFrom)),
    waitedMs: Math.max(0, arrivedAt - idleFrom),
  };
}

/** The sum of several exchanges' totals. */
export function addStatistics(all: readonly Partial<ExchangeStatistics>[]): ExchangeStatistics {
  const sum = (key: keyof ExchangeStatistics): number =>
    all.reduce((total, each) => total + (each[key] ?? 0), 0);
  return {
    bytesSent: sum("bytesSent"),
    bytesReceived: sum("bytesReceived"),
    transferMs: sum("transferMs"),
    exposedMs: sum("exposedMs"),
    waitedMs: sum("waitedMs"),
  };
}
