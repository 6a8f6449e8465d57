// Where tests find files of the repository. All tests run with the repository as working directory: under vitest, and
// as one bundled module on a bare GPU machine, where `import.meta.url` would point elsewhere.
import { resolve } from "node:path";

/** The absolute path of a file, given from the repository's root: "tests/fixtures/wan_tiny/expected.json". */
export function repoPath(path: string): string {
  return resolve(process.cwd(), path);
}
