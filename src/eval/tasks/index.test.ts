/** The catalogue of tasks: names, options that flags can be made of, errors. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { sampleTexts } from "../../../tests/support/fake-method.ts";
import { UserError } from "../../errors.ts";
import { taskNamed, tasks } from "./index.ts";
import { textTask } from "./text.ts";

it("lists every task under its own name", () => {
  expect(Object.keys(tasks)).toEqual(
    expect.arrayContaining(["text", "tokens", "classify", "squad", "counterfact", "zsre", "documents"]),
  );
  for (const [name, task] of Object.entries(tasks)) {
    expect(task.name).toBe(name);
    expect(taskNamed(name)).toBe(task);
  }
});

it("options of one name have one type, and each says what it is", () => {
  const types = new Map<string, unknown>();
  for (const { name, options } of Object.values(tasks)) {
    for (const [key, value] of Object.entries(z.toJSONSchema(options, { io: "input" }).properties ?? {})) {
      const { type, description } = value as { type?: string; description?: string };
      expect(description, `${name}.${key}`).toMatch(/\S/);
      expect(types.get(key) ?? type, `${name}.${key}`).toBe(type);
      types.set(key, type);
    }
  }
});

it("refuses other names with the nearest", () => {
  expect(() => taskNamed("sqaud")).toThrow(UserError);
  expect(() => taskNamed("sqaud")).toThrow(
    /^task: expected one of text, tokens, .*, got "sqaud"; did you mean squad\?$/,
  );
  expect(() => taskNamed("constructor")).toThrow(UserError);
});

it("text: the files of a folder, or those named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mneme-text-"));
  const files = sampleTexts().map((file) => ({ ...file, path: join(folder, file.path.slice("notes/".length)) }));
  for (const { path, text } of files) await writeFile(path, text);
  await writeFile(join(folder, "notes.md"), "not a text of the stream");
  const wanted = textTask(files).fingerprint;
  expect((await tasks.text.create({ data: folder })).fingerprint).toBe(wanted);
  expect((await tasks.text.create({ data: files.map(({ path }) => path).join(", ") })).fingerprint).toBe(wanted);
  expect((await tasks.text.create({ data: folder, limit: 2 })).topics.map(({ name }) => name)).toEqual([
    "a.txt",
    "b.txt",
  ]);
  await rm(join(folder, "a.txt"));
  await expect(tasks.text.create({ data: files[0].path })).rejects.toThrow(/got nothing there/);
  for (const { path } of files.slice(1)) await rm(path);
  await expect(tasks.text.create({ data: folder })).rejects.toThrow(/expected \.txt files in .*, got none/);
  await expect(tasks.text.create({ data: folder, holdout: 0.9 })).rejects.toThrow(/got holdout: /);
  await rm(folder, { recursive: true });
});
