// The part of the browser's private file system that opfs_source.ts uses, in memory: folders, files, writes that appear on
// close. `quotaBytes` makes writes fail as a full disk does. What a browser really does is tested in tests/browser.

/** A folder whose files a test can look at and damage. */
export interface FakeFolder {
  readonly handle: FileSystemDirectoryHandle;
  /** "folder/file" -> content, for everything below. */
  files(): Map<string, Uint8Array>;
  quotaBytes: number;
}

type Entry = Uint8Array | Map<string, Entry>;

/** An empty file system. */
export function createFakeOpfs(): FakeFolder {
  const root = new Map<string, Entry>();
  const fake: FakeFolder = {
    quotaBytes: Number.POSITIVE_INFINITY,
    files: () => new Map(listFiles(root, "")),
    // Only the methods below are called; the rest of the interface is left out on purpose.
    handle: directoryHandle(root, () => fake.quotaBytes) as unknown as FileSystemDirectoryHandle,
  };
  return fake;
}

function* listFiles(folder: Map<string, Entry>, prefix: string): Generator<[string, Uint8Array]> {
  for (const [name, entry] of folder) {
    if (entry instanceof Uint8Array) yield [prefix + name, entry];
    else yield* listFiles(entry, `${prefix}${name}/`);
  }
}

const notFound = (): DOMException =>
  new DOMException("A requested file could not be found.", "NotFoundError");

function directoryHandle(folder: Map<string, Entry>, quota: () => number): object {
  return {
    async getDirectoryHandle(name: string, { create = false } = {}) {
      if (!folder.has(name) && create) folder.set(name, new Map());
      const entry = folder.get(name);
      if (!(entry instanceof Map)) throw notFound();
      return directoryHandle(entry, quota);
    },
    async getFileHandle(name: string, { create = false } = {}) {
      if (!folder.has(name) && create) folder.set(name, new Uint8Array(0));
      if (!(folder.get(name) instanceof Uint8Array)) throw notFound();
      return fileHandle(folder, name, quota);
    },
    async *values() {
      for (const [name, entry] of folder) {
        const isFolder = entry instanceof Map;
        const handle = isFolder ? directoryHandle(entry, quota) : fileHandle(folder, name, quota);
        yield { ...handle, kind: isFolder ? "directory" : "file", name };
      }
    },
    async removeEntry(name: string) {
      if (!folder.delete(name)) throw notFound();
    },
  };
}

function fileHandle(folder: Map<string, Entry>, name: string, quota: () => number): object {
  return {
    async getFile() {
      const bytes = folder.get(name);
      if (!(bytes instanceof Uint8Array)) throw notFound();
      return new File([bytes as Uint8Array<ArrayBuffer>], name);
    },
    async createWritable() {
      let pending = new Uint8Array(0);
      return {
        async write(bytes: Uint8Array) {
          if (bytes.byteLength > quota()) throw new DOMException("full", "QuotaExceededError");
          pending = bytes.slice();
        },
        async close() {
          folder.set(name, pending);
        },
      };
    },
  };
}
