// Ports between processes of one host: TCP on the loopback address, structured data in frames of a length and bytes; large
// arrays take another way (parcels_node.ts). Whoever connects says the job's token and a ticket first, or is sent away.

import { createServer, connect, type Server, type Socket } from "node:net";
import { deserialize, serialize } from "node:v8";
import { ParcelFolder } from "./parcel_files_node.ts";
import { type ParcelNotice, parcelNotice, ParcelReceiver, ParcelSender } from "./parcels_node.ts";
import type { Port, PortListener } from "./port.ts";

/** Where ports are accepted. */
export interface PortServer {
  /** "127.0.0.1:PORT". */
  readonly address: string;
  /** The port of whoever comes with this ticket, before or after this call; each ticket once. */
  accept(ticket: string): Port;
  /** Takes everybody who comes with this ticket. */
  acceptAll(ticket: string, onPort: (port: Port) => void): void;
  close(): void;
}

const LOOPBACK = "127.0.0.1";
/** Time to say token and ticket. */
const GREETING_MS = 5000;
const MAX_GREETING_BYTES = 4096;
const HEAD_BYTES = 4;
/** A frame is at most what a Buffer takes. */
const MAX_FRAME_BYTES = 2 ** 32 - 1;

/** Opens a server for a job's ports. */
export async function openPortServer(token: string): Promise<PortServer> {
  const arrived = new Map<string, FramedSocket>();
  const awaited = new Map<string, (socket: FramedSocket) => void>();
  const doors = new Map<string, (port: Port) => void>();
  const sockets = new Set<Socket>();
  const folder = new ParcelFolder(token);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const framed = new FramedSocket(socket, MAX_GREETING_BYTES);
    const timeout = setTimeout(() => socket.destroy(), GREETING_MS);
    framed.once((greeting) => {
      clearTimeout(timeout);
      const ticket = ticketOf(greeting, token);
      const take = ticket === undefined ? undefined : awaited.get(ticket);
      const door = ticket === undefined ? undefined : doors.get(ticket);
      if (ticket === undefined) socket.destroy();
      else if (door) door(portOfSocket(Promise.resolve(framed), folder));
      else if (take) take(framed);
      else arrived.set(ticket, framed);
    });
  });
  await listen(server);
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("The port server has no address.");
  return {
    address: `${LOOPBACK}:${bound.port}`,
    accept(ticket) {
      const early = arrived.get(ticket);
      arrived.delete(ticket);
      const opening = early
        ? Promise.resolve(early)
        : new Promise<FramedSocket>((resolve) => awaited.set(ticket, resolve));
      return portOfSocket(opening, folder);
    },
    acceptAll: (ticket, onPort) => void doors.set(ticket, onPort),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Takes away what a job has left on its way, when all of it has ended. */
export function removeParcels(token: string): void {
  new ParcelFolder(token).remove();
}

/** Connects to a server's port. What is posted before the connection stands is sent when it does. */
export function connectPort(
  address: string,
  greeting: { readonly token: string; readonly ticket: string },
): Port {
  const [host = LOOPBACK, port = ""] = address.split(":");
  const socket = connect({ host, port: Number(port) });
  const framed = new FramedSocket(socket, MAX_FRAME_BYTES);
  framed.send(greeting);
  return portOfSocket(Promise.resolve(framed), new ParcelFolder(greeting.token));
}

/** A port as a worker's command carries it: a ticket, and where to come with it; without an address one is come to. */
export interface CarriedTicket {
  readonly ticket: string;
  readonly address?: string | undefined;
}

function portOfSocket(opening: Promise<FramedSocket>, folder: ParcelFolder): Port {
  let isClosed = false;
  let tellClosed: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => (tellClosed = resolve));
  const tell = (notice: ParcelNotice): void => void opening.then((socket) => socket.send(notice));
  const sender = new ParcelSender(folder, tell);
  const receiver = new ParcelReceiver(folder, tell);
  const takeNotice = (notice: ParcelNotice): void => {
    if (notice.type === "weft.returned") sender.takeBack(notice.name);
    else receiver.takeWritten(notice);
  };
  void opening.then((socket) => socket.takeNotices(takeNotice));
  // Packing takes its time; what is posted or comes later waits for what was before.
  let outgoing: Promise<unknown> = opening;
  let incoming: Promise<unknown> = opening;
  return {
    copies: true,
    post(message, _transfer, onFree) {
      const packed = sender.pack(message);
      outgoing = Promise.all([opening, packed, outgoing]).then(([socket, ready]) =>
        socket.send(ready.message),
      );
      const written = packed.then((ready) => ready.written);
      if (onFree) void Promise.all([written, Promise.race([outgoing, closed])]).then(onFree);
    },
    listen({ takesDistant = false, ...listener }) {
      const onMessage = (message: unknown): void => {
        const ready = receiver.unpack(message, takesDistant);
        const deliver = (whole: unknown): void => {
          if (!isClosed) listener.onMessage(whole);
        };
        // A parcel that is gone is a lost message: whoever waits for it says so.
        incoming = Promise.all([ready, incoming]).then(
          ([whole]) => deliver(whole),
          () => undefined,
        );
      };
      const onClose = (): void => {
        incoming = incoming.then(() => {
          receiver.close();
          if (!isClosed) listener.onClose();
        });
      };
      void opening.then((socket) => {
        if (!isClosed) socket.listen({ onMessage, onClose });
      });
    },
    close() {
      isClosed = true;
      tellClosed();
      receiver.close();
      void outgoing.then(() => {
        sender.close();
        void opening.then((socket) => socket.end());
      });
    },
  };
}

/** A socket that carries frames. Frames that come before somebody listens are kept. */
class FramedSocket {
  readonly #socket: Socket;
  readonly #kept: unknown[] = [];
  /** The length of the frame that comes, then its bytes. */
  #head = Buffer.alloc(HEAD_BYTES);
  #body: Buffer | undefined;
  /** Bytes of head or body that are there. */
  #filled = 0;
  #maxBytes: number;
  #once: ((message: unknown) => void) | undefined;
  #listener: PortListener | undefined;
  /** Keeps them until somebody takes them: some may come right behind the greeting. */
  readonly #keptNotices: ParcelNotice[] = [];
  #onNotice = (notice: ParcelNotice): void => void this.#keptNotices.push(notice);
  #isGone = false;

  constructor(socket: Socket, maxBytes: number) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", () => {
      this.#isGone = true;
      this.#listener?.onClose();
    });
  }

  send(message: unknown): void {
    if (this.#isGone) return;
    const body = serialize(message);
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32LE(body.byteLength);
    this.#socket.cork();
    this.#socket.write(head);
    this.#socket.write(body);
    this.#socket.uncork();
  }

  once(take: (message: unknown) => void): void {
    this.#once = (message) => {
      this.#maxBytes = MAX_FRAME_BYTES;
      take(message);
    };
  }

  /** Takes what is told of parcels, also before somebody listens. */
  takeNotices(onNotice: (notice: ParcelNotice) => void): void {
    this.#onNotice = onNotice;
    for (const notice of this.#keptNotices.splice(0)) onNotice(notice);
  }

  listen(listener: PortListener): void {
    this.#listener = listener;
    for (const message of this.#kept.splice(0)) listener.onMessage(message);
    if (this.#isGone) listener.onClose();
  }

  /** Sends what is still to be sent, and ends. */
  end(): void {
    this.#listener = undefined;
    this.#socket.end();
  }

  /** Copies every byte once, into the frame that it belongs to. */
  #read(chunk: Buffer): void {
    for (let at = 0; at < chunk.byteLength;) {
      const target = this.#body ?? this.#head;
      const count = Math.min(chunk.byteLength - at, target.byteLength - this.#filled);
      chunk.copy(target, this.#filled, at, at + count);
      at += count;
      this.#filled += count;
      if (this.#filled === target.byteLength && !this.#finish()) return;
    }
  }

  /** Head or body is complete; false when the frame is refused. */
  #finish(): boolean {
    this.#filled = 0;
    const body = this.#body;
    if (body !== undefined) {
      this.#body = undefined;
      return this.#take(body);
    }
    const length = this.#head.readUInt32LE();
    if (length === 0 || length > this.#maxBytes) {
      this.#socket.destroy();
      return false;
    }
    // Memory of its own, so that typed arrays in it start where they must.
    this.#body = Buffer.allocUnsafeSlow(length);
    return true;
  }

  #take(body: Buffer): boolean {
    let message: unknown;
    try {
      message = deserialize(body);
    } catch {
      this.#socket.destroy();
      return false;
    }
    const once = this.#once;
    this.#once = undefined;
    const notice = parcelNotice(message);
    if (once) once(message);
    else if (notice) this.#onNotice(notice);
    else if (this.#listener) this.#listener.onMessage(message);
    else this.#kept.push(message);
    return true;
  }
}

function ticketOf(greeting: unknown, token: string): string | undefined {
  if (typeof greeting !== "object" || greeting === null) return undefined;
  const { token: said, ticket } = greeting as { token?: unknown; ticket?: unknown };
  return said === token && typeof ticket === "string" ? ticket : undefined;
}

async function listen(server: Server): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, LOOPBACK, () => resolve());
  });
}
