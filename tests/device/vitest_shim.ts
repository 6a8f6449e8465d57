// Stands in for `vitest` in the module for bare GPU machines: collects tests as vitest would and runs them in order.
// Only what tests/gpu uses. `expect` is vitest's own, assembled from its parts.
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";
import * as chai from "chai";
import { format } from "node:util";

type Body = () => unknown;

interface Test {
  readonly name: string;
  readonly body: Body;
}

/** A describe block or a file. */
export interface Suite {
  readonly name: string;
  readonly children: (Suite | Test)[];
  readonly hooks: Record<"beforeAll" | "afterAll" | "beforeEach" | "afterEach", Body[]>;
}

/** A result, for the summary. */
export interface TestResult {
  readonly name: string;
  readonly error?: unknown;
  readonly milliseconds: number;
}

const TEST_TIMEOUT_MS = 120_000;

let current = newSuite("");

/** Runs `load`, in which a file registers its tests, and returns them as one suite. */
export async function collect(name: string, load: () => Promise<unknown>): Promise<Suite> {
  const suite = newSuite(name);
  current = suite;
  await load();
  return suite;
}

/** Runs a suite's tests whose full name `isWanted`; a failed hook fails what depends on it. */
export async function runSuite(
  suite: Suite,
  { isWanted, parents = [] }: { isWanted: (name: string) => boolean; parents?: readonly Suite[] },
): Promise<TestResult[]> {
  const path = [...parents, suite];
  const results: TestResult[] = [];
  if (!hasMatch(suite, parents.map(({ name }) => name).join(" > "), isWanted)) return results;
  const opened = await attempt(
    `${fullName(path)} > beforeAll`,
    async () => await runAll(suite.hooks.beforeAll),
  );
  if (opened.error !== undefined) results.push(opened);
  else {
    for (const child of suite.children) {
      if ("children" in child) results.push(...(await runSuite(child, { isWanted, parents: path })));
      else if (isWanted(`${fullName(path)} > ${child.name}`)) results.push(await runTest(child, path));
    }
  }
  const closed = await attempt(
    `${fullName(path)} > afterAll`,
    async () => await runAll(suite.hooks.afterAll),
  );
  if (closed.error !== undefined) results.push(closed);
  return results;
}

function hasMatch(suite: Suite, prefix: string, isWanted: (name: string) => boolean): boolean {
  const name = prefix === "" ? suite.name : `${prefix} > ${suite.name}`;
  return suite.children.some((child) =>
    "children" in child ? hasMatch(child, name, isWanted) : isWanted(`${name} > ${child.name}`),
  );
}

async function runTest({ name, body }: Test, path: readonly Suite[]): Promise<TestResult> {
  return await attempt(`${fullName(path)} > ${name}`, async () => {
    for (const { hooks } of path) await runAll(hooks.beforeEach);
    try {
      await body();
    } finally {
      for (const { hooks } of path.toReversed()) await runAll(hooks.afterEach.toReversed());
    }
  });
}

async function attempt(name: string, body: () => Promise<void>): Promise<TestResult> {
  const start = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Not done after ${TEST_TIMEOUT_MS} ms.`)), TEST_TIMEOUT_MS);
  });
  try {
    await Promise.race([body(), tooLate]);
    return { name, milliseconds: performance.now() - start };
  } catch (error) {
    return { name, error: error ?? new Error("Thrown: nothing."), milliseconds: performance.now() - start };
  } finally {
    clearTimeout(timer);
  }
}

async function runAll(bodies: readonly Body[]): Promise<void> {
  for (const body of bodies) await body();
}

function fullName(path: readonly Suite[]): string {
  return path.map(({ name }) => name).join(" > ");
}

function newSuite(name: string): Suite {
  return { name, children: [], hooks: { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] } };
}

function addTest(name: string, body: Body): void {
  current.children.push({ name, body });
}

function addSuite(name: string, body: Body): void {
  const parent = current;
  current = newSuite(name);
  parent.children.push(current);
  body();
  current = parent;
}

/** `each(rows)(title, body)`: the body once per row; `%s` and `$key` in the title are filled in. */
function each(add: (name: string, body: Body) => void) {
  return (rows: readonly unknown[]) =>
    (title: string, body: (...row: unknown[]) => unknown): void => {
      for (const row of rows) {
        const values: unknown[] = Array.isArray(row) ? row : [row];
        add(filledIn(title, values), () => body(...values));
      }
    };
}

function filledIn(title: string, values: readonly unknown[]): string {
  const placeholders = title.match(/%[sdijfo]/g)?.length ?? 0;
  const [first] = values;
  return format(title, ...values.slice(0, placeholders)).replaceAll(/\$(\w+)/g, (whole, key: string) =>
    typeof first === "object" && first !== null && key in first
      ? String((first as Record<string, unknown>)[key])
      : whole,
  );
}

/** The forms of `describe` and `test`: one for each row, or under a condition. */
function formsOf(add: (name: string, body: Body) => void) {
  const nothing = (): void => undefined;
  return {
    each: each(add),
    runIf: (condition: unknown) => (condition ? add : nothing),
    skipIf: (condition: unknown) => (condition ? nothing : add),
  };
}

/** vitest's `describe`. @public: used through vite's alias, as all of these are. */
export const describe = Object.assign(addSuite, formsOf(addSuite));

/** vitest's `test`. @public */
export const test = Object.assign((name: string, body: Body) => addTest(name, body), formsOf(addTest));

/** vitest's `it`. @public */
export const it = Object.assign((name: string, body: Body) => addTest(name, body), formsOf(addTest));

/** vitest's hooks, for the suite in which they are called. @public */
export const beforeAll = (body: Body): void => void current.hooks.beforeAll.push(body);
/** See `beforeAll`. @public */
export const afterAll = (body: Body): void => void current.hooks.afterAll.push(body);
/** See `beforeAll`. @public */
export const beforeEach = (body: Body): void => void current.hooks.beforeEach.push(body);
/** See `beforeAll`. @public */
export const afterEach = (body: Body): void => void current.hooks.afterEach.push(body);

interface Spy {
  readonly mock: {
    readonly calls: readonly unknown[][];
    readonly contexts: readonly unknown[];
    readonly invocationCallOrder: readonly number[];
  };
  mockRestore(): void;
}

let spiedCalls = 0;

/** vitest's `vi`, of which the tests use `spyOn` with what `Spy` has. @public */
export const vi = {
  spyOn(target: Record<string, unknown>, name: string): Spy {
    const original = target[name] as (...args: unknown[]) => unknown;
    const mock = {
      calls: [] as unknown[][],
      contexts: [] as unknown[],
      invocationCallOrder: [] as number[],
    };
    target[name] = function (this: unknown, ...args: unknown[]): unknown {
      mock.calls.push(args);
      mock.contexts.push(this);
      mock.invocationCallOrder.push(++spiedCalls);
      return original.apply(this, args);
    };
    return {
      mock,
      mockRestore() {
        target[name] = original;
      },
    };
  },
};

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

/** vitest's `expect`. @public */
export const expect = Object.assign(
  (value: unknown, message?: string) => {
    setState({ assertionCalls: getState(expect as never).assertionCalls + 1 }, expect as never);
    return chai.expect(value, message);
  },
  chai.expect,
  (globalThis as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT],
);

const START = { assertionCalls: 0, isExpectingAssertions: false, isExpectingAssertionsError: null };
setState(
  { ...START, expectedAssertionsNumber: null, expectedAssertionsNumberErrorGen: null },
  expect as never,
);
