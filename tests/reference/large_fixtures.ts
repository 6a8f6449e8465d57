// Reference data too large for the repository, from a folder beside it (see tests/fixtures/README.md). Tests that need
// what is not there are not defined, and their file's title says which.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { repoPath } from "../repo_path.ts";

/** Names the folder; without it, `../shared/fixtures` next to the repository is used when it exists. */
const VARIABLE = "WEFT_FIXTURES";
const asked = process.env[VARIABLE];
const folder = repoPath(asked ?? "../shared/fixtures");
if (asked !== undefined && !existsSync(folder))
  throw new Error(`${VARIABLE} is ${asked}, which does not exist; unset it to test without large fixtures.`);

/** The absolute path of a large fixture, or undefined where it is not. */
export function largeFixture(path: string): string | undefined {
  const found = resolve(folder, path);
  return existsSync(found) ? found : undefined;
}

/** For titles: `name`, and how to get it when it is not here. */
export function fixtureTitle(name: string, found: boolean): string {
  return found ? name : `${name} not here: set ${VARIABLE}`;
}
