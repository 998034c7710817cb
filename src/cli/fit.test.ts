/** `mneme fit`: the module, its page of curves, and the curves of a fit that goes on. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf, mneme } from "../../tests/support/cli.ts";
import { smallDocuments } from "../../tests/support/small-bank.ts";
import { textModel } from "../../tests/support/text-model.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-fit-"));
beforeAll(async () => {
  await textModel(join(folder, "base"), { context: 96 });
  const documents = smallDocuments.map(({ id, text, facts = [] }) => ({
    id,
    text,
    questions: facts.map(({ prompt, target }) => ({ question: prompt.text, answer: target })),
  }));
  writeFileSync(join(folder, "own.jsonl"), documents.map((document) => JSON.stringify(document)).join("\n"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sizes = ["--slots", "4", "--width", "16", "--places", "2", "--encoder-width", "16", "--encoder-layers", "1"];
const small = [...sizes, "--encoder-heads", "2", "--inner", "16", "--blocks", "2", "--block-heads", "2"];
const books = ["--block-inner", "16", "--context", "40", "--codes", "8", "--depth", "2", "--rank", "2"];
const steps = ["--groups", "2", "--per-group", "3", "--questions", "3", "--steps", "6", "--care-steps", "2"];

test("a fit has a page of its curves, which are still there when the same command runs again", async () => {
  const pages: string[] = [];
  for (const out of ["module", "again"]) {
    const given = [
      "--model",
      "base",
      "--data",
      "own.jsonl",
      "--work",
      "work",
      "--out",
      out,
      "--threads",
      "1",
      "--json",
    ];
    const result = await mneme(["fit", "bank-compression", ...given, ...small, ...books, ...steps], { cwd: folder });
    expect(result.code, result.stderr).toBe(0);
    expect(jsonOf(result)).toMatchObject({ command: "fit", report: join(out, "report.html"), steps: 6 });
    pages.push(readFileSync(join(folder, out, "report.html"), "utf8"));
  }
  const [page, again] = pages;
  // Six steps of the loss; looks before steps 3 and 5, at three codebooks in three charts
  for (const text of ["Loss by step", "Quantisation loss by step", "Share of codes in use by step", "depth 2"])
    expect(page).toContain(text);
  expect(again).toBe(page);
  const lines = readFileSync(join(folder, "work/curves.jsonl"), "utf8").trimEnd().split("\n");
  const events = lines.map((line) => JSON.parse(line) as { type: string; step: number });
  const stepsOf = (type: string): number[] => events.flatMap((event) => (event.type === type ? [event.step] : []));
  expect(stepsOf("step")).toEqual([1, 2, 3, 4, 5, 6]);
  expect(stepsOf("figures")).toEqual([3, 5]);
});
