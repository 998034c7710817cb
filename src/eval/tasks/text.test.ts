import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fakeMethod, sampleTexts } from "../../../tests/support/fake-method.ts";
import { UserError } from "../../errors.ts";
import { splitText, textTask, topicNames } from "./text.ts";

const file = (path: string, text: string) => ({ path, text, bytes: Buffer.byteLength(text), sha256: "" });

describe("splitText", () => {
  test("cuts before the last tenth of equal paragraphs", () => {
    const paragraphs = Array.from(
      { length: 20 },
      (_, i) => `Paragraph ${String(i).padStart(2, "0")} ${"x".repeat(80)}.`,
    );
    const { learned, heldOut } = splitText("t", paragraphs.join("\n\n"), 0.1);
    expect(heldOut).toBe(paragraphs.slice(18).join("\n\n"));
    expect(learned).toBe(`${paragraphs.slice(0, 18).join("\n\n")}\n\n`);
  });

  test("falls back to lines where a paragraph is too long, also with CRLF", () => {
    const lines = Array.from({ length: 50 }, (_, i) => `line ${String(i).padStart(2, "0")} with some words in it`);
    const text = `title\r\n\r\n${lines.join("\r\n")}`;
    expect(splitText("t", text, 0.1).heldOut).toBe(lines.slice(45).join("\r\n"));
  });

  test("a short text holds out at least 64 bytes", () => {
    const text = Array.from({ length: 12 }, (_, i) => `a line of text, ${i}`).join("\n");
    const { learned, heldOut } = splitText("t", text, 0.1);
    expect(Buffer.byteLength(heldOut)).toBeGreaterThanOrEqual(64);
    expect(Buffer.byteLength(learned)).toBeGreaterThanOrEqual(128);
  });

  test("names the file, its size and the need when it is too short or has no line break", () => {
    expect(() => splitText("short.txt", "one line\ntwo lines\n", 0.1)).toThrow(
      /at least 128 bytes to learn and 64 held out, got short\.txt with 18 bytes and 1 line breaks; give a longer text/,
    );
    expect(() => splitText("flat.txt", "word ".repeat(1000), 0.1)).toThrow(UserError);
  });

  test("property: the two parts are the text, both large enough, and no character is cut", () => {
    const line = fc.string({ unit: fc.constantFrom("a", "é", "語", "🙂", " ", "b"), minLength: 0, maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 60 }),
        fc.double({ min: 0.02, max: 0.5, noNaN: true }),
        (lines, holdout) => {
          const text = lines.join("\n");
          let parts: { learned: string; heldOut: string };
          try {
            parts = splitText("t", text, holdout);
          } catch (error) {
            expect(error).toBeInstanceOf(UserError);
            return;
          }
          expect(parts.learned + parts.heldOut).toBe(text.trimEnd());
          expect(parts.learned.endsWith("\n") || /\s$/.test(parts.learned)).toBe(true);
          expect(Buffer.byteLength(parts.learned)).toBeGreaterThanOrEqual(128);
          expect(Buffer.byteLength(parts.heldOut)).toBeGreaterThanOrEqual(64);
        },
      ),
    );
  });
});

test("topic names are file names, with folders or numbers where they clash", () => {
  expect(topicNames(["x/a.txt", "y/b.txt"])).toEqual(["a.txt", "b.txt"]);
  expect(topicNames(["x/a.txt", "y/a.txt", "c.txt"])).toEqual(["x/a.txt", "y/a.txt", "c.txt"]);
  expect(topicNames(["a.txt", "a.txt"])).toEqual(["a.txt", "a.txt (2)"]);
});

test("scores bits per byte of the held-out part, and the learned part never contains it", async () => {
  const files = sampleTexts();
  const task = textTask(files, { holdout: 0.2 });
  expect(task).toMatchObject({ name: "text", direction: "lower", unit: "bits per byte", metric: "bitsPerByte" });
  // The fresh fake method knows nothing: 256 equal bytes are 8 bits each.
  expect((await task.evaluate(fakeMethod(), 1)).bitsPerByte).toBeCloseTo(8, 6);
  const seen: string[] = [];
  const spy = {
    ...fakeMethod(),
    score: async (prompt: string, text: string) => (
      seen.push(prompt, text), { nats: Math.LN2 * 30, tokens: 3, bytes: 10 }
    ),
  };
  expect(await task.evaluate(spy, 0)).toEqual({ bitsPerByte: expect.closeTo(3, 12) });
  expect(seen[0]).toBe("");
  expect(files[0].text).toBe(task.topics[0].documents[0].text + seen[1]);
});

test("the fingerprint follows the texts and the split", () => {
  const files = sampleTexts();
  const changed = files.map((one, i) => (i === 2 ? file(one.path, `${one.text}!`) : one));
  expect(textTask(files).fingerprint).toBe(textTask(files).fingerprint);
  expect(textTask(changed).fingerprint).not.toBe(textTask(files).fingerprint);
  expect(textTask(files, { holdout: 0.3 }).fingerprint).not.toBe(textTask(files).fingerprint);
});

test("no files or a wrong share are user errors", () => {
  expect(() => textTask([])).toThrow(UserError);
  for (const holdout of [0, -1, 0.6, Number.NaN])
    expect(() => textTask(sampleTexts(), { holdout })).toThrow(/holdout above 0 and up to 0.5/);
});
