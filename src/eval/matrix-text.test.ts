import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  displayWidth,
  formatBytes,
  formatChange,
  formatCount,
  formatScore,
  formatSeconds,
  truncate,
} from "./format.ts";
import { forgettingSentence, learningSentence, renderMatrix } from "./matrix-text.ts";
import type { ScoreMatrix } from "./metrics.ts";

const matrix: ScoreMatrix = {
  R: [
    [1.8, 2.6, 3.0],
    [1.9, 2.1, 3.1],
    [2.012, 2.1, 2.4],
  ],
  baseline: [2.5, 2.55, 3.2],
  direction: "lower",
  unit: "bits per byte",
  topics: ["a.txt", "b.txt", "c.txt"],
};

test("a plain matrix, character by character", () => {
  expect(renderMatrix(matrix)).toBe(
    [
      "bits per byte, lower is better; [x] = just learned",
      "                 a.txt  b.txt  c.txt",
      "before learning  2.50   2.55   3.20",
      "after a.txt     [1.80]  2.60   3.00",
      "after b.txt      1.90  [2.10]  3.10",
      "after c.txt      2.01   2.10  [2.40]",
    ].join("\n"),
  );
});

test("colour adds escape sequences only; best and worst of a column differ", () => {
  const coloured = renderMatrix(matrix, { colour: true });
  // Padding may stand inside the colour, so spaces at line ends are not compared.
  const plainLines = stripVTControlCharacters(coloured)
    .split("\n")
    .map((line) => line.trimEnd());
  expect(plainLines.join("\n")).toBe(renderMatrix(matrix));
  expect(coloured).toContain("\u001b[36m");
  expect(coloured).toContain("\u001b[33m");
  expect(renderMatrix(matrix, { colour: false })).not.toContain("\u001b");
});

test("wide matrices wrap and stay within the width", () => {
  const size = 9;
  const many: ScoreMatrix = {
    ...matrix,
    baseline: null,
    topics: Array.from({ length: size }, (_, i) => `a rather long file name ${i} 日本語.txt`),
    R: Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => (j <= i ? i + j / 10 : null))),
  };
  for (const width of [40, 60, 80, 120]) {
    const text = renderMatrix(many, { width });
    for (const line of text.split("\n").slice(1)) expect(displayWidth(line)).toBeLessThanOrEqual(width);
    expect(text).toContain("[8.80]");
    expect(text).toContain("–");
  }
});

describe("sentences", () => {
  test("what was forgotten and what was learned", () => {
    expect(forgettingSentence(matrix)).toBe(
      "After learning c.txt, a.txt got worse by 0.21 bits per byte (1.80 -> 2.01); b.txt stayed the same (2.10 -> 2.10).",
    );
    expect(learningSentence(matrix)).toBe(
      "When each was learned, a.txt got better by 0.70 bits per byte (2.50 -> 1.80); " +
        "b.txt got better by 0.45 bits per byte (2.55 -> 2.10); c.txt got better by 0.80 bits per byte (3.20 -> 2.40).",
    );
  });

  test("for scores that should be high, and where there is nothing to say", () => {
    const high: ScoreMatrix = {
      ...matrix,
      direction: "higher",
      unit: "accuracy",
      R: [
        [0.9, 0, 0],
        [0.5, 0.8, 0],
      ],
    };
    expect(forgettingSentence(high)).toBe("After learning b.txt, a.txt got worse by 0.40 accuracy (0.90 -> 0.50).");
    const share = (unit: string) => forgettingSentence({ ...high, unit });
    expect(share("share (exactMatch)")).toBe(
      "After learning b.txt, a.txt got worse by 40 points (exact match 90 % -> 50 %).",
    );
    expect(share("share of exact answers")).toContain("(exact answers 90 % -> 50 %)");
    expect(share("share")).toContain("by 40 points (90 % -> 50 %)");
    const barely = {
      ...high,
      unit: "share",
      R: [
        [0.5, 0, 0],
        [0.513, 0, 0],
      ],
    };
    expect(forgettingSentence(barely)).toContain("a.txt got better by 1 point (50 % -> 51 %)");
    expect(forgettingSentence({ ...matrix, R: matrix.R.slice(0, 1) })).toBe("");
    expect(learningSentence({ ...matrix, baseline: null })).toBe("");
  });
});

test("numbers", () => {
  expect([1.23456, -0.0001, null].map((value) => formatScore(value))).toEqual(["1.235", "0.000", "–"]);
  expect([0.5, -0.5, -0.0001, null].map((value) => formatChange(value, 2))).toEqual(["+0.50", "-0.50", "0.00", "–"]);
  expect([0.423, 9.999, 12.34, 59.97, 245, 7380].map(formatSeconds)).toEqual([
    "0.42 s",
    "10.0 s",
    "12.3 s",
    "1 min 00 s",
    "4 min 05 s",
    "2 h 03 min",
  ]);
  expect([0, 999, 1000, 2_345_678, 999_999].map(formatBytes)).toEqual([
    "0 B",
    "999 B",
    "1.00 kB",
    "2.35 MB",
    "1.00 MB",
  ]);
  expect([12, 1234, 1234567].map(formatCount)).toEqual(["12", "1,234", "1,234,567"]);
});

test("property: truncated names fit, keep both ends and hold no control characters", () => {
  const name = fc.string({ unit: fc.constantFrom("a", "b", "語", "🙂", "\u001b", "\n", "é"), maxLength: 40 });
  fc.assert(
    fc.property(name, fc.integer({ min: 1, max: 30 }), (text, width) => {
      const short = truncate(text, width);
      expect(displayWidth(short)).toBeLessThanOrEqual(width);
      expect(short).not.toMatch(/\p{Cc}/u);
    }),
  );
  expect(truncate("chapter-one-of-two.txt", 12)).toBe("chapte…o.txt");
  expect(truncate("abcdefghij", 5)).toBe("ab…ij");
});
