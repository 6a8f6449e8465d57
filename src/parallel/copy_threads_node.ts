// Threads that copy parcels (parcel_files_node.ts): those behind Node's file functions. Node reads their number once, from
// the environment, when the first of them is needed.

import { availableParallelism } from "node:os";

/** Node's own number, which is enough where cores are few. */
const MIN_THREADS = 4;
/** More do not copy faster: memory is what limits them. */
const MAX_THREADS = 16;

/** What to add to the environment of one of so many processes that send each other parcels. */
export function copyThreadsEnvironment(processes: number): Record<string, string> {
  const { UV_THREADPOOL_SIZE: chosen } = process.env;
  const share = Math.floor(availableParallelism() / processes);
  const threads = Math.min(MAX_THREADS, Math.max(MIN_THREADS, share));
  return { UV_THREADPOOL_SIZE: chosen ?? String(threads) };
}
