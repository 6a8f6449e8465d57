// `weft serve`: the built page with the embedded model, on this machine's own address.

import { existsSync } from "node:fs";
import type { Server } from "node:http";
import type { Command } from "commander";
import { InputError } from "../errors.ts";
import { withInterrupt } from "./interrupt.ts";
import { wholeNumber } from "./option_values.ts";
import { packagePath } from "./package_files.ts";
import { createStaticServer } from "./static_server.ts";

const DEFAULT_PORT = 8080;

/** Where a server listens. */
interface Address {
  readonly port: number;
  readonly host: string;
}

/** Adds the command to the program. */
export function addServeCommand(program: Command): void {
  program
    .command("serve")
    .summary("serve the page")
    .description("Serves the page and the embedded model, with the headers that threads in a page need.")
    .option("--port <n>", "0 takes any free port", wholeNumber, DEFAULT_PORT)
    .option(
      "--host <address>",
      "0.0.0.0 lets other machines in; WebGPU then needs https in front",
      "127.0.0.1",
    )
    .action(async ({ port, host }: Address) => {
      const folders = { "/": packagePath("dist", "page"), "/models/": packagePath("models") };
      const server = await listen(createStaticServer(folders), { port, host });
      process.stdout.write(`${serverUrl(server, host)}\n`);
      await withInterrupt(async (signal) => {
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        server.close();
        server.closeAllConnections();
      });
    });
}

/**
 * Starts a server. Resolves when it listens.
 *
 * @throws {InputError} when the page is not built, or the address is taken.
 */
export async function listen(server: Server, { port, host }: Address): Promise<Server> {
  if (port < 0 || port > 65535) throw new InputError(`The port must be from 0 to 65535, not ${port}.`);
  const page = packagePath("dist", "page");
  if (!existsSync(page))
    throw new InputError(`The page is not built (${page} is missing); run: npm run build`);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(explainListenError(error, host, port)));
    server.listen(port, host, resolve);
  });
  return server;
}

/** The address a browser opens. */
export function serverUrl(server: Server, host: string): string {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return `http://${host === "0.0.0.0" || host === "::" ? "localhost" : host}:${port}/`;
}

function explainListenError(error: Error, host: string, port: number): Error {
  const code = "code" in error ? error.code : undefined;
  const options = { cause: error };
  if (code === "EADDRINUSE") {
    return new InputError(
      `Port ${port} of ${host} is taken; choose another with --port, or 0 for any.`,
      options,
    );
  }
  if (code === "EACCES")
    return new InputError(`Port ${port} needs administrator rights; choose one above 1023.`, options);
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new InputError(`${host} is not an address of this machine; use 127.0.0.1 or 0.0.0.0.`, options);
  }
  return error;
}
