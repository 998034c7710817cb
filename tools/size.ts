/** Lines per folder: `npm run size`. Read the numbers as a question ("what did this change delete?"), not as a gate. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = new Map<string, { source: number; tests: number; files: number; longest: string; most: number }>();

for (const top of ["src", "tests", "tools", "bench", "examples"]) {
  let entries: string[];
  try {
    entries = readdirSync(join(root, top), { recursive: true, encoding: "utf8" });
  } catch {
    continue; // a folder that is not there yet has no lines
  }
  for (const entry of entries.filter((name) => /\.(ts|py)$/.test(name))) {
    const path = join(top, entry);
    const lines = readFileSync(join(root, path), "utf8").split("\n").length - 1;
    const folder = folders.get(dirname(path)) ?? { source: 0, tests: 0, files: 0, longest: "", most: 0 };
    folder[entry.endsWith(".test.ts") ? "tests" : "source"] += lines;
    folder.files++;
    if (lines > folder.most) [folder.most, folder.longest] = [lines, relative(dirname(path), path)];
    folders.set(dirname(path), folder);
  }
}

const row = (...cells: (string | number)[]): string =>
  cells.map((cell, i) => (i === 0 || i === 4 ? String(cell).padEnd(20) : String(cell).padStart(8))).join("  ");
console.log(row("folder", "files", "source", "tests", "longest file"));
const total = { files: 0, source: 0, tests: 0 };
for (const [name, { files, source, tests, longest, most }] of [...folders].sort(([a], [b]) => (a < b ? -1 : 1))) {
  console.log(row(name, files, source, tests, `${longest} (${most})`));
  total.files += files;
  total.source += source;
  total.tests += tests;
}
console.log(row("all", total.files, total.source, total.tests, ""));
