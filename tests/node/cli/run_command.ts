// Runs one command of the program in this process and gives what it printed. Not a test.
import { Command } from "commander";
import { vi } from "vitest";

/** Runs `weft ARGS` with only the command that `add` adds; rejects as the command does. */
export async function runCommand(add: (program: Command) => void, args: readonly string[]): Promise<string> {
  const program = new Command("weft").exitOverride().configureOutput({ writeErr: () => undefined });
  add(program);
  let printed = "";
  const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
  } finally {
    stdout.mockRestore();
  }
  return printed;
}
