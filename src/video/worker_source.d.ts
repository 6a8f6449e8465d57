// What vite.config.ts makes of `?node_worker`: the text of one ES module for worker_threads.

declare module "*?node_worker" {
  const source: string;
  export default source;
}
