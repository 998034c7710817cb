/**
 * The floors of the project, checked from the sources: imports only go down, siblings on one floor do not know each
 * other, values have no cycles, and no file grows past what one idea needs.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/** From the ground up. Folders of one floor are siblings; inside a folder imports are free. */
const floors: readonly (readonly string[])[] = [
  ["tensor"],
  ["runtime", "nn", "checkpoint"],
  ["models", "memory"],
  ["methods"],
  ["eval"],
  ["runs"],
  ["bench"],
  ["cli", "server"],
];
/** Below every floor, and above every floor. */
const [ground, roof] = ["src/errors.ts", "src/index.ts"];
const mostLines = 600;

const root = fileURLToPath(new URL("..", import.meta.url));
const posix = (path: string): string => path.split(sep).join("/");

function filesBelow(folder: string, pattern: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => pattern.test(name) && !name.includes("node_modules"))
    .map((name) => posix(join(folder, name)))
    .toSorted();
}

interface Import {
  readonly target: string;
  /** False for `import type` and `export type`, which leave no trace at run time. */
  readonly value: boolean;
}

/** `import ... from "x"`, `export ... from "x"`, `import "x"` at the start of a line, and `import("x")` anywhere. */
function importsOf(source: string): Import[] {
  const clause = String.raw`(?:\{[^}]*\}|\*(?:\s+as\s+\w+)?|\w+(?:\s*,\s*\{[^}]*\})?)`;
  const statement = new RegExp(String.raw`^(?:import|export)\s+(type\s+)?${clause}\s+from\s+"([^"]+)"`, "gm");
  const found = [...source.matchAll(statement)].map(([, type, target]) => ({ target, value: !type }));
  for (const [, target] of source.matchAll(/^import\s+"([^"]+)"/gm)) found.push({ target, value: true });
  for (const [, target] of source.matchAll(/(?<!typeof )\bimport\("([^"]+)"\)/g)) found.push({ target, value: true });
  return found;
}

const sources = filesBelow("src", /\.ts$/);
const text = new Map(sources.map((file) => [file, readFileSync(join(root, file), "utf8")]));
const isTest = (file: string): boolean => file.endsWith(".test.ts");
const imports = new Map([...text].map(([file, source]) => [file, importsOf(source)]));
const isLocal = ({ target }: Import): boolean => target.startsWith(".");
const resolved = (file: string, { target }: Import): string => posix(normalize(join(dirname(file), target)));

const folderOf = (file: string): string => file.split("/")[1];
const floorOf = (file: string): number => floors.findIndex((folders) => folders.includes(folderOf(file)));

/** Why an import is not allowed, or undefined. */
function fault(file: string, target: string): string | undefined {
  if (!target.startsWith("src/")) {
    return isTest(file) && target.startsWith("tests/") ? undefined : "leaves src; only tests may, to tests/";
  }
  if (!text.has(target)) return "is not a file; write the path with its .ts";
  if (isTest(target)) return "is a test; nothing imports tests";
  if (file === roof || target === ground) return undefined;
  if (file === ground) return `lies above ${ground}, which imports nothing`;
  if (target === roof) return `lies above everything; import the file itself instead of ${roof}`;
  if (folderOf(file) === folderOf(target)) return undefined;
  const [from, to] = [floorOf(file), floorOf(target)];
  if (to > from) return `lies on floor ${to}, above floor ${from}; move what is needed down`;
  if (to === from) return `is a sibling on floor ${from}; move what both need to a lower floor`;
  return undefined;
}

/** The first cycle that a walk finds, as a path of files. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const next of edges.get(file) ?? []) {
      const cycle = walk(next, [...path, file]);
      if (cycle.length > 0) return cycle;
    }
    done.add(file);
    return [];
  };
  for (const file of edges.keys()) {
    const cycle = walk(file, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

describe("floors", () => {
  test("every source file stands on one", () => {
    const homeless = sources.filter((file) => file !== ground && file !== roof && floorOf(file) < 0);
    expect(homeless, "files in folders without a floor: add the folder to `floors` in tests/floors.test.ts").toEqual(
      [],
    );
  });

  test("imports only go down, and never to a sibling", () => {
    const faults: string[] = [];
    for (const [file, found] of imports) {
      for (const one of found.filter(isLocal)) {
        const reason = fault(file, resolved(file, one));
        if (reason) faults.push(`${file} imports ${resolved(file, one)}, which ${reason}`);
      }
    }
    expect(faults).toEqual([]);
  });

  test("values are imported without cycles", () => {
    const edges = [...imports].map(([file, found]) => {
      return [file, found.filter((one) => one.value && isLocal(one)).map((one) => resolved(file, one))] as const;
    });
    expect(findCycle(new Map(edges)), "a cycle of value imports: each file imports the next").toEqual([]);
  });

  test("packages that the product imports are its dependencies", () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const faults: string[] = [];
    for (const [file, found] of imports) {
      for (const { target } of isTest(file) ? [] : found.filter((one) => !isLocal(one))) {
        const name = target
          .split("/")
          .slice(0, target.startsWith("@") ? 2 : 1)
          .join("/");
        if (!target.startsWith("node:") && !(name in dependencies)) faults.push(`${file} imports ${target}`);
      }
    }
    expect(faults, "imports of packages that package.json does not list under dependencies").toEqual([]);
  });
});

describe("files", () => {
  const all = ["src", "tests", "tools", "bench", "examples"].flatMap((folder) => filesBelow(folder, /\.(ts|py)$/));

  test(`have at most ${mostLines} lines`, () => {
    const long = all.flatMap((file) => {
      const lines = readFileSync(join(root, file), "utf8").split("\n").length - 1;
      return lines > mostLines ? [`${file}: ${lines} lines; split it by what it talks about`] : [];
    });
    expect(long).toEqual([]);
  });

  test("of the product say at the top what they are, and export by name", () => {
    const faults = [...text].flatMap(([file, source]) => {
      if (isTest(file)) return [];
      const faultsOfFile: string[] = [];
      if (!/^(#![^\n]*\n)?\/\*\*/.test(source)) faultsOfFile.push(`${file}: begin with a comment that says what it is`);
      if (/^export default\b/m.test(source)) faultsOfFile.push(`${file}: export by name, not as default`);
      return faultsOfFile;
    });
    expect(faults).toEqual([]);
  });
});

describe("the checks themselves", () => {
  test("see every form of import", () => {
    const source = [
      'import type { A } from "./a.ts";',
      'import {\n  b,\n  type B,\n} from "./b.ts";',
      'import * as c from "./c.ts";',
      'export { d } from "./d.ts";',
      'export type { E } from "./e.ts";',
      'import "./f.ts";',
      'const g = await import("./g.ts");',
      'type H = typeof import("./h.ts");',
      'const text = "import x from y";',
    ].join("\n");
    const found = importsOf(source).map(({ target, value }) => `${target}${value ? "" : " (type)"}`);
    expect(found.toSorted()).toEqual([
      "./a.ts (type)",
      "./b.ts",
      "./c.ts",
      "./d.ts",
      "./e.ts (type)",
      "./f.ts",
      "./g.ts",
    ]);
  });

  test("tell down from up and sideways", () => {
    const some = (folder: string): string =>
      sources.find((file) => folderOf(file) === folder && !isTest(file)) as string;
    expect(fault(some("models"), some("tensor"))).toBeUndefined();
    expect(fault(some("tensor"), some("tensor"))).toBeUndefined();
    expect(fault(some("tensor"), ground)).toBeUndefined();
    expect(fault(some("tensor"), some("models"))).toMatch(/^lies on floor 2, above floor 0/);
    expect(fault(some("nn"), some("runtime"))).toMatch(/^is a sibling on floor 1/);
    expect(fault(some("nn"), "tests/support/close.ts")).toMatch(/^leaves src/);
  });

  test("find a cycle", () => {
    const edges = new Map([
      ["a", ["b", "c"]],
      ["b", ["d"]],
      ["c", ["d", "e"]],
      ["d", []],
      ["e", ["c"]],
    ]);
    expect(findCycle(edges)).toEqual(["c", "e", "c"]);
    edges.set("e", ["d"]);
    expect(findCycle(edges)).toEqual([]);
  });
});
