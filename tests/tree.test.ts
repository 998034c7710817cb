/** The tree in both READMEs names every source file, each with a phrase, and none that is gone. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = new URL("..", import.meta.url).pathname;

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sources(path);
    return path.endsWith(".ts") && !path.endsWith(".test.ts") ? [path] : [];
  });
}

/** Paths in the first code block that begins with "src/": two spaces below it are folders, four are files. */
function tree(readme: string): Map<string, string> {
  const block = /```\n(src\/\n[\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const phrases = new Map<string, string>();
  let folder = "";
  for (const line of block.split("\n").slice(1)) {
    const [, indent, name, phrase] = /^( *)(\S+) +(.*)$/.exec(line) ?? [];
    if (indent === undefined || indent === "") continue;
    if (indent.length === 4) phrases.set(`src/${folder}${name}`, phrase);
    else if (name.endsWith("/")) folder = name;
    else phrases.set(`src/${name}`, phrase);
  }
  return phrases;
}

test.each(["README.md", "README.zh-CN.md"])("%s names every source file", (name) => {
  const listed = tree(readFileSync(join(root, name), "utf8"));
  expect([...listed.keys()].sort()).toEqual(sources("src").sort());
  for (const [path, phrase] of listed) expect(phrase.length, path).toBeGreaterThan(1);
});
