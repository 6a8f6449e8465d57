// Ports over sockets: what they carry, who is let in, and that both sides notice the end.
import { connect } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { full } from "../../../src/attention/plan_constructors.ts";
import { runClipWorker } from "../../../src/parallel/clip_worker.ts";
import type { Port } from "../../../src/parallel/port.ts";
import {
  type CarriedTicket,
  connectPort,
  openPortServer,
  type PortServer,
  removeParcels,
} from "../../../src/parallel/socket_port_node.ts";
import { fakeAnswer, fakeCoordinator, openFake, sampleOf, TOKEN } from "./fake_clips.ts";

let server: PortServer;
beforeEach(async () => {
  server = await openPortServer(TOKEN);
});
afterEach(() => {
  server.close();
  removeParcels(TOKEN);
});

/** What a port brings, one after the other; "closed" last. */
function inbox(port: Port): () => Promise<unknown> {
  const kept: unknown[] = [];
  const waiting: ((message: unknown) => void)[] = [];
  const put = (message: unknown): void => {
    const next = waiting.shift();
    if (next) next(message);
    else kept.push(message);
  };
  port.listen({ onMessage: put, onClose: () => put("closed") });
  return () =>
    kept.length > 0 ? Promise.resolve(kept.shift()) : new Promise((resolve) => waiting.push(resolve));
}

test("structured data goes both ways, in order, large or small", async () => {
  const accepted = server.accept("a");
  const mine = connectPort(server.address, { token: TOKEN, ticket: "a" });
  const [atServer, atClient] = [inbox(accepted), inbox(mine)];
  const big = new Float32Array(300_001).map((_, i) => Math.sin(i));
  mine.post({ big, odd: new Uint8Array([1, 2, 3]), map: new Map([["x", new Float32Array([0.5])]]) });
  for (let i = 0; i < 50; i++) mine.post(i);
  accepted.post("back");
  expect(await atServer()).toEqual({
    big,
    odd: new Uint8Array([1, 2, 3]),
    map: new Map([["x", new Float32Array([0.5])]]),
  });
  for (let i = 0; i < 50; i++) expect(await atServer()).toBe(i);
  expect(await atClient()).toBe("back");
  mine.close();
  expect(await atServer()).toBe("closed");
});

test("whoever has the wrong token is sent away", async () => {
  const stranger = inbox(connectPort(server.address, { token: "guessed", ticket: "a" }));
  expect(await stranger()).toBe("closed");
});

test("whoever sends something else is sent away", async () => {
  const socket = connect({ host: "127.0.0.1", port: Number(server.address.split(":")[1]) });
  socket.write("GET / HTTP/1.1\r\n\r\n");
  await new Promise<void>((resolve) => socket.on("close", () => resolve()));
});

test("a job over workers that are connected by sockets", async () => {
  const servers = await Promise.all([0, 1, 2].map(() => openPortServer(TOKEN)));
  const { coordinator } = fakeCoordinator(full(), {
    numWorkers: 3,
    connect: (address, _other, ticket) => [
      { port: { ticket }, transfer: [] },
      { port: { ticket, address }, transfer: [] },
    ],
  });
  server.acceptAll("worker", (port) => coordinator.add(port));
  for (const [i, own] of servers.entries()) {
    void runClipWorker({
      port: connectPort(server.address, { token: TOKEN, ticket: "worker" }),
      token: TOKEN,
      name: `worker ${i}`,
      adapter: "none",
      address: own.address,
      open: (job) => openFake(job),
      toPort: (carried) => {
        const { ticket, address } = carried as CarriedTicket;
        return address === undefined ? own.accept(ticket) : connectPort(address, { token: TOKEN, ticket });
      },
      heartbeatMs: 20,
    });
  }
  expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
  for (const own of servers) own.close();
});
