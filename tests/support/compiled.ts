/**
 * Before the tests: the sources compiled to JavaScript, for tests that start processes. A process that compiles for
 * itself (tsx) takes a second of processor time to start, and the suite starts hundreds. Types are checked by
 * `npm run check`; here they are only stripped. Only files that changed since the last time are compiled.
 */
import { createHash, randomUUID } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledVariable } from "./script.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const sourceFolders = ["src", "tests/support", "tools"];
/** What compiled code finds relative to itself, as the sources do. */
const linked = "README.md README.zh-CN.md bench docs examples models package.json recipes results tests/fixtures".split(
  " ",
);

const hash = (...texts: string[]): string => {
  const sum = createHash("sha256");
  for (const text of texts) sum.update(text).update("\0");
  return sum.digest("hex");
};

/** Written beside its place and renamed: another test run may be reading. */
function writeWhole(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

/** Relative paths of all sources but tests. */
const sources = (): string[] =>
  sourceFolders.flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[])
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
      .map((name) => `${folder}/${name}`),
  );

/** Strips the types of one file, as the build does. Loading it takes half a second. */
export async function compiler(): Promise<(text: string, path: string) => string> {
  const { default: ts } = await import("typescript");
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile) as { config: object };
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  // File by file it cannot read package.json, from which it would know that these are modules
  const compilerOptions = { ...options, module: ts.ModuleKind.ESNext };
  return (text, path) => ts.transpileModule(text, { fileName: join(root, path), compilerOptions }).outputText;
}

/** Compiles what is new; returns the folder, in which packages resolve as in the checkout. */
async function compile(): Promise<string> {
  // Checkouts that share their packages do not share this
  const folder = join(root, "node_modules", ".cache", `mneme-tests-${hash(root).slice(0, 12)}`);
  mkdirSync(join(folder, "tests"), { recursive: true });
  const out = realpathSync(folder); // as a script finds itself named, also where node_modules is a link
  for (const name of linked) {
    if (existsSync(join(root, name)) && !existsSync(join(out, name))) {
      rmSync(join(out, name), { force: true }); // a link to what was moved
      symlinkSync(join(root, name), join(out, name));
    }
  }

  const manifest = join(out, "compiled.json");
  const before: Record<string, string> = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")) : {};
  const settings = ["tsconfig.json", "package-lock.json"].map((name) => readFileSync(join(root, name), "utf8"));
  const common = hash(...settings);
  const texts = new Map(sources().map((path) => [path, readFileSync(join(root, path), "utf8")]));
  const now = Object.fromEntries([...texts].map(([path, text]) => [path, hash(common, text)]));
  const changed = [...texts].filter(([path]) => now[path] !== before[path]);
  const gone = Object.keys(before).filter((path) => !texts.has(path));
  const compiledPath = (path: string): string => join(out, path.replace(/\.ts$/, ".js"));
  for (const path of gone) rmSync(compiledPath(path), { force: true });
  if (changed.length > 0) {
    const javascript = await compiler();
    for (const [path, text] of changed) writeWhole(compiledPath(path), javascript(text, path));
  }
  if (changed.length > 0 || gone.length > 0) writeWhole(manifest, JSON.stringify(now));
  return out;
}

/** Called by vitest once, before the tests, whose processes inherit the variable. */
export async function setup(): Promise<void> {
  process.env[compiledVariable] = await compile();
}
