/** Reports of curves: what is repeated after a stop, which points are drawn, what a memory holds step by step. */
import { describe, expect, test } from "vitest";
import type { MethodEvent } from "../methods/method.ts";
import { fitCurves, fitReportHtml } from "./report-fit.ts";
import type { Group } from "./report-groups.ts";
import { memoryCurves } from "./report-memory.ts";
import type { HeldStep } from "./summary.ts";

const step = (number: number, loss: number): MethodEvent => ({
  type: "step",
  step: number,
  steps: 1000,
  tokens: 10 * number,
  loss,
  learningRate: 1e-3,
  tokensPerSecond: 100,
});
const look = (number: number, error: number): MethodEvent => ({
  type: "figures",
  step: number,
  figures: { "quantisation <loss>": { "depth 1": error, "depth 2": error / 2 } },
});
const polylines = (html: string): number[] =>
  [...html.matchAll(/<path fill="none" stroke="var[^>]* d="(M[^"]*)"/g)].map(
    ([, path]) => path.split(/[ML]/).length - 1,
  );

describe("a fit", () => {
  test("repeats the steps behind its last checkpoint: they count once, as they were the last time", () => {
    const events = [
      step(1, 4),
      look(1, 0.5),
      step(2, 3),
      step(3, 9),
      look(3, 0.9),
      step(2, 3),
      step(3, 2),
      look(3, 0.3),
    ];
    const { losses, figures } = fitCurves([...events, { type: "note", message: "" }]);
    expect(losses).toEqual([1, 2, 3].map((x, i) => ({ x, y: [4, 3, 2][i] })));
    expect(figures.map(({ x, figures: { "quantisation <loss>": lines } }) => [x, lines["depth 2"]])).toEqual([
      [1, 0.25],
      [3, 0.15],
    ]);
    const validated = fitCurves([step(1, 1), { type: "validation", step: 1, bitsPerByte: 2, best: true }]);
    expect(validated.figures).toEqual([{ x: 1, figures: { "bits per byte": { "held-out text": 2 } } }]);
  });

  test("is a page with a chart for each name, a line for each book, and what was measured", () => {
    const events = Array.from({ length: 240 }, (_, i) => step(i + 1, 4 - i / 100));
    const html = fitReportHtml({
      method: "some-method",
      model: "base",
      result: { steps: 240, tokens: 2400, seconds: 60, finalLoss: 1.61, stopped: "done" },
      measured: { "full precision": 0.875 },
      options: { learningRate: 1e-3 },
      curves: fitCurves([...events.slice(0, 120), look(120, 0.5), ...events.slice(120), look(240, 0.1)]),
    });
    // Two steps to a point of the loss; two looks to a line of the figures. Samples of the keys begin at M0
    expect(polylines(html.replaceAll('d="M0 6H26"', ""))).toEqual([120, 2, 2]);
    for (const text of [
      "each point the mean of 2",
      "Quantisation &lt;loss&gt; by step",
      "depth 2",
      "2,400 tokens",
      ">0.875<",
    ])
      expect(html).toContain(text);
    expect(html).not.toMatch(/<script|https?:|src=|url\(|<link/);
  });

  test("puts neighbouring looks together where there are many", () => {
    const events = Array.from({ length: 120 }, (_, i) => [step(i + 1, 1), look(i + 1, i % 2)]).flat();
    const result = { steps: 120, tokens: 1, seconds: 1, finalLoss: 1, stopped: "done" } as const;
    const html = fitReportHtml({
      method: "m",
      model: "b",
      result,
      measured: {},
      options: {},
      curves: fitCurves(events),
    });
    expect(polylines(html.replaceAll('d="M0 6H26"', ""))).toEqual([120, 60, 60]);
    // Errors of 0 and 1 by turns: the means of two lie at 0.5, on one height
    const [, first] = [...html.matchAll(/<path fill="none" stroke="var[^>]* d="(M[0-9][^"]{20,})"/g)].map(
      ([, path]) => path,
    );
    expect(
      new Set(
        first
          .split(/[ML]/)
          .slice(1)
          .map((point) => point.split(" ")[1]),
      ).size,
    ).toBe(1);
  });

  test("without a step has a page all the same", () => {
    const result = { steps: 0, tokens: 0, seconds: 0, finalLoss: 0, stopped: "done" } as const;
    const html = fitReportHtml({ method: "m", model: "b", result, measured: {}, options: {}, curves: fitCurves([]) });
    expect(html).toContain("Nothing to draw.");
  });
});

describe("a stream", () => {
  const groupOf = (held: readonly HeldStep[], rewards: readonly number[] | null = null): Group =>
    ({
      runs: [
        {
          losses: [],
          result: {
            held,
            rewards: rewards?.map((reward) => ({ reward, accuracy: 0.5, forgetting: 0, bytes: 1 })) ?? null,
          },
        },
      ],
      matrix: { R: held.map(() => [0]), topics: held.map((_, i) => `step ${i}`) },
    }) as unknown as Group;

  test("shows what is in a memory after each step, and what the step was worth", () => {
    const memory = (documents: number) => ({ "in the bank": { documents, entries: 2 * documents } });
    const html = memoryCurves(
      groupOf(
        [
          { bytes: 5, memory: memory(3) },
          { bytes: 9, memory: memory(6) },
        ],
        [0.4, 0.3],
      ),
    );
    expect(polylines(html.replaceAll('d="M0 6H26"', ""))).toEqual([2, 2, 2, 2, 2]);
    for (const text of ["In the bank after each step", "Worth of a step after each step", "entries", "reward"])
      expect(html).toContain(text);
    expect(html).not.toContain("MB held");
  });

  test("shows the bytes of other methods where they grow", () => {
    expect(memoryCurves(groupOf([{ bytes: 2e6 }, { bytes: 3e6 }]))).toContain("MB held after each step");
    expect(memoryCurves(groupOf([{ bytes: 2e6 }, { bytes: 2e6 }]))).toBe("");
    // One step is no curve; files of earlier versions have none
    expect(memoryCurves(groupOf([{ bytes: 2e6 }]))).toBe("");
    expect(memoryCurves(groupOf([{}, {}]))).toBe("");
  });
});
