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

/** When a message was sent, when it came, and when what had stayed behind was fetched; milliseconds since 1970. */
export interface Delivery {
  readonly sentAt: number;
  readonly arrivedAt: number;
  /** @default nothing was left behind */
  readonly fetched?: { readonly from: number; readonly to: number } | undefined;
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
  const last = deliveries.reduce((a, b) => (endOf(b) > endOf(a) ? b : a));
  const { sentAt, arrivedAt, fetched } = last;
  const trips = [{ from: sentAt, to: arrivedAt }, ...(fetched ? [fetched] : [])];
  const sum = (start: number): number =>
    trips.reduce((total, { from, to }) => total + Math.max(0, to - Math.max(from, start)), 0);
  return {
    transferMs: sum(-Infinity),
    exposedMs: sum(idleFrom),
    waitedMs: Math.max(0, endOf(last) - idleFrom),
  };
}

function endOf({ arrivedAt, fetched }: Delivery): number {
  return fetched?.to ?? arrivedAt;
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
