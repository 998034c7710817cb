import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diagnosticsOf } from "./diagnostics.ts";
import { hypervolume } from "./hypervolume.ts";
import { interval95 } from "./interval.ts";
import { metricsOf } from "./metrics.ts";
import type { ScoreMatrix } from "./metrics.ts";
import { escape } from "./report-html.ts";
import { heat, lines } from "./report-style.ts";
import { niceTicks } from "./report-svg.ts";
import { reportHtml } from "./report.ts";
import type { ReportRun, RunResult } from "./result.ts";
import { runMetrics } from "./summary.ts";

const evil = `b <script>alert("1")</script> & 'c'.txt`;

function sample(
  method: string,
  R: ScoreMatrix["R"],
  baseline: ScoreMatrix["baseline"] = [2.811, 2.642, 2.953],
): ReportRun {
  const matrix: ScoreMatrix = {
    R,
    baseline,
    direction: "lower",
    unit: "bits per byte",
    topics: ["a.txt", evil, "c.txt"],
  };
  const losses = [0, 1, 2].flatMap((topic) =>
    Array.from({ length: 200 }, (_, step) => ({ topic, step, loss: 2 + 1 / (1 + step) + topic / 10 })),
  );
  // As the first version wrote it: without named scores, probes, diagnostics, protocol.
  const result = {
    run: "run-1",
    task: "text",
    method,
    model: "tiny",
    seeds: [17],
    metrics: metricsOf(matrix),
    cost: { seconds: 41.3, tokens: 123456, bytes: 5_600_000 },
    matrix,
    config: { files: ["a.txt", evil], methodOptions: { learningRate: 0.000375, targets: ["q", "v"] } },
    versions: { mneme: "0.1.0", node: "v20.1.2" },
    machine: { cpu: "A <fast> CPU", cores: 2 },
    durations: { total: 55.2, learn: [13.2, 14.04, 14.1], evaluate: [2.1, 2.25, 2.35, 2.45] },
    finished: "2026-11-21T09:00:00.000Z",
  };
  return { losses, result: result as unknown as RunResult };
}

/**
 * How a method does on a laboratory task of five topics: each is learned to `gain`, of which `keep` is left after every
 * further topic; hidden states drift by `drift` per topic (null: it shows none).
 */
interface Course {
  readonly gain: number;
  readonly keep: number;
  readonly seconds: number;
  readonly drift: number | null;
}

function labRun(method: string, seed: number, { gain, keep, seconds, drift }: Course): ReportRun {
  const topics = ["science", "sport", "business", "art", "travel"];
  const shift = (seed - 18) / 100;
  const R = topics.map((_, i) => topics.map((_, j) => (j > i ? 0.04 : (gain + shift) * keep ** (i - j))));
  const matrix: ScoreMatrix = { R, baseline: topics.map(() => 0.04), direction: "higher", unit: "exact match", topics };
  const half = { R: R.map((row) => row.map((cell) => cell / 2)), baseline: topics.map(() => 0.02) };
  const scores = { exactMatch: { R, baseline: matrix.baseline }, paraphrase: half };
  const after = topics.map((_, i) => (0.96 + shift) * keep ** ((i + 1) / 4));
  const probes = { W0: { before: 0.96, after, direction: "higher" as const, unit: "exact match", ofBase: true } };
  const snapshot = (moved: number) => ({
    drift: [0, 1, 2].map((layer) => ({ relativeL2: moved * layer, cosine: 1 - moved * 0.01, cka: 1 - moved * 0.02 })),
    attentionEntropy: [1, 2].map((nats) => [nats + moved, nats + 2 * moved]),
  });
  const insides =
    drift === null
      ? { before: null, after: [] }
      : { before: snapshot(0), after: topics.map((_, i) => snapshot((i + 1) * (drift + shift))) };
  return {
    losses: [],
    result: {
      run: `${method}-${seed}`,
      task: "world-topics",
      metric: "exactMatch",
      protocol: "exact match, free greedy generation",
      method,
      model: "mneme-base",
      seeds: [seed],
      matrix,
      scores,
      probes,
      metrics: runMetrics(matrix, scores, probes),
      diagnostics: diagnosticsOf(matrix, insides),
      rewards: null,
      cost: {
        seconds: seconds + 10 * shift,
        tokens: 512_000,
        flops: 1.85e13,
        bytes: 340_000,
        bytesPerDocument: 227,
        peakMB: 480,
      },
      outsideRuntimeShare: null,
      config: { method, seed, methodOptions: { learningRate: 0.0003 }, out: `runs/${method}-${seed}` },
      versions: { mneme: "0.1.0" },
      machine: { cores: 2 },
      durations: { total: 60, learn: [1, 2, 3, 4, 5], evaluate: [1, 1, 1, 1, 1, 1] },
      finished: "2026-11-21T09:00:00.000Z",
    },
  };
}

const settings: Record<string, Course> = {
  finetune: { gain: 0.82, keep: 0.5, seconds: 40, drift: 0.0625 },
  replay: { gain: 0.8, keep: 0.9, seconds: 44, drift: 0.0625 },
  rag: { gain: 0.7, keep: 1, seconds: 2, drift: null },
};
const lab = Object.entries(settings).flatMap(([method, setting]) =>
  [17, 18, 19].map((seed) => labRun(method, seed, setting)),
);

/** Every opened element is closed, in order. Throws at the first that is not. */
function checkNesting(html: string): number {
  const open: string[] = [];
  let elements = 0;
  for (const [whole, closing, name] of html
    .replace(/<style>[^]*?<\/style>/, "")
    .matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
    if (name === "meta" || whole.endsWith("/>")) continue;
    if (closing === "") {
      elements++;
      open.push(name);
    } else if (open.pop() !== name) throw new Error(`${whole} closes nothing before ${html.length}: ${open.join(" ")}`);
  }
  expect(open).toEqual([]);
  return elements;
}

const runs = [
  sample("finetune", [
    [2.313, 2.634, 2.995],
    [2.526, 2.127, 3.018],
    [2.619, 2.351, 2.402],
  ]),
  sample("lora", [
    [2.503, 2.604, 2.935],
    [2.536, 2.307, 2.948],
    [2.559, 2.331, 2.612],
  ]),
];

describe("the page", () => {
  const html = reportHtml(runs);

  test("contains every number", () => {
    for (const { result } of runs) {
      const scores = [...result.matrix.R.flat(), ...(result.matrix.baseline ?? [])];
      const { acc, forgetting, bwt, fwt } = result.metrics;
      for (const value of [...scores, acc, forgetting]) expect(html).toContain(`>${value?.toFixed(3)}<`);
      for (const value of [bwt, fwt]) expect(html).toContain(`>${(value ?? 0) > 0 ? "+" : ""}${value?.toFixed(3)}<`);
    }
    for (const text of [
      "41.3 s",
      "123,456",
      "5.60 MB",
      "13.2 s",
      "14.0 s",
      "2.10 s",
      "55.2 s",
      "0.000375",
      "v20.1.2",
      "17",
      "600 steps",
    ]) {
      expect(html).toContain(text);
    }
    expect(html).toContain("lower is better");
    // Fading in bits per byte: from 0 just learned.
    expect(html).toContain("change in bits per byte (lower is better)");
    expect(html).not.toContain("Pareto front");
    expect(html).toContain(escape("F = mean over j < T-1 of R[T-1][j] - (min over k of R[k][j])"));
  });

  test("escapes everything and needs nothing from outside", () => {
    expect(html).not.toContain("<script");
    expect(html).toContain("b &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;c&#39;.txt");
    expect(html).toContain("A &lt;fast&gt; CPU");
    expect(html).not.toMatch(/https?:|src=|@import|url\(|<link/);
  });

  test("is the same for the same input and also there for odd ones", () => {
    expect(reportHtml(runs)).toBe(html);
    const nothing = sample("none", [], null);
    const one = sample("one", [[2.5, null, null]], null);
    expect(checkNesting(html)).toBeGreaterThan(100);
    for (const odd of [
      [],
      [nothing],
      [one],
      [{ ...one, losses: [] }],
      [lab[0]],
      [lab[0], lab[3], runs[0]],
      [{ ...one, losses: [{ topic: 0, step: 0, loss: Number.NaN }] }],
    ]) {
      const page = reportHtml(odd);
      expect(page).toMatch(/<\/html>\s*$/);
      expect(page).not.toMatch(/NaN|undefined|Infinity/);
      checkNesting(page);
    }
  });

  test("property: any names leave the page's markup intact", () => {
    const tags = (page: string) => page.replace(/>[^<]*</g, "><").match(/<\/?[a-z0-9]+/g)?.length;
    const plain = tags(reportHtml([sample("m", [[1, 2, 3]])]));
    // Any code point but halves of pairs, and often those that mean something in HTML.
    const any = fc.integer({ min: 0, max: 0x10ffff }).filter((code) => code < 0xd800 || code > 0xdfff);
    const character = fc.oneof(
      fc.constantFrom(..."<>&\"'/=!-"),
      any.map((code) => String.fromCodePoint(code)),
      fc.string({ minLength: 1, maxLength: 1 }),
    );
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 30 }), (name) => {
        const run = sample(name, [[1, 2, 3]]);
        expect(tags(reportHtml([{ ...run, result: { ...run.result, run: name, model: name } }]))).toBe(plain);
      }),
      { numRuns: 50 },
    );
  });
});

describe("a comparison over seeds", () => {
  const html = reportHtml(lab);
  const of = (method: string) => lab.filter(({ result }) => result.method === method).map(({ result }) => result);
  const text = (page: string) => page.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ");
  /** Cells of the row of a method in the table with this caption, as "mean ±half". */
  const row = (caption: string, method: string): string[] => {
    const table = html.split("<table").find((part) => part.includes(`<span>${caption}`)) ?? "";
    const found = table.split("<tr>").find((part) => part.startsWith(`<th scope="row">${method}</th>`)) ?? "";
    return [...found.matchAll(/<td[^>]*>(.*?)<\/td>/g)].map(([, cell]) => text(cell).trim());
  };
  const shown = (values: readonly (number | null)[], signed = false): string => {
    const { mean = 0, half } = interval95(values) ?? {};
    const number = `${signed && mean > 0 ? "+" : ""}${mean.toFixed(3)}`;
    return half && half > 1e-9 ? `${number} ±${half.toFixed(3)}` : number;
  };

  test("has a row per method with means and intervals of the results", () => {
    for (const method of Object.keys(settings)) {
      const results = of(method);
      const rates = results.map(({ metrics, cost }) => (metrics.nar ?? 0) / cost.seconds);
      const full = of("finetune").map(({ metrics, cost }) => (metrics.nar ?? 0) / cost.seconds);
      const cells = row("Kept and learned", method);
      expect(cells[0]).toBe(shown(results.map(({ metrics }) => metrics.rkr)));
      expect(cells[1]).toBe(shown(results.map(({ metrics }) => metrics.nar)));
      expect(Number.parseFloat(cells[2])).toBeCloseTo(interval95(rates.map((rate, i) => rate / full[i]))?.mean ?? 0, 1);
      expect(cells[3]).toBe(shown(results.map(({ metrics }) => metrics.baseRetention)));
      expect(cells[4]).toBe(shown(results.map(({ metrics }) => (metrics.nar ?? 0) * (metrics.rkr ?? 0))));
      expect(cells[5]).toBe(shown(results.map(({ metrics }) => metrics.acc)));
      expect(cells[6]).toBe(
        shown(
          results.map(({ metrics }) => metrics.bwt),
          true,
        ),
      );
      const cost = row("What it cost", method);
      expect(cost.slice(1)).toEqual(["512,000", "18.5 T", "340 kB", "227 B", "480 MB"]);
    }
    // RKR by hand: replay keeps 0.9 per topic, from four topics ago to one.
    expect(row("Kept and learned", "replay")[0]).toBe(((0.9 + 0.81 + 0.729 + 0.6561) / 4).toFixed(3));
    expect(html).toMatch(/class="best">1\.000</);
  });

  test("shows the front and its hypervolume, named scores apart, probes, the inside", () => {
    const points = Object.keys(settings).map((method) => {
      const mean = (values: readonly (number | null)[]) => interval95(values)?.mean ?? 0;
      return [
        mean(of(method).map(({ metrics }) => metrics.nar)),
        mean(of(method).map(({ metrics }) => metrics.rkr)),
      ] as const;
    });
    expect(html).toContain(`hypervolume ${hypervolume(points).toFixed(3)}</strong>`);
    expect(html).toContain("Pareto front (finetune, replay, rag)");
    const { R } = of("finetune")[1].scores.paraphrase;
    expect(row("paraphrase", "finetune")[0]).toBe("0.020");
    expect(row("paraphrase", "finetune")[1]).toContain("0.410");
    expect(row("paraphrase", "finetune")[2]).toContain((interval95(R[4])?.mean ?? 0).toFixed(3));
    expect(row("W0: exact match, higher is better", "replay")).toEqual([
      "0.960",
      ...[0, 1, 2, 3, 4].map((i) => shown(of("replay").map(({ probes }) => probes.W0.after[i]))),
      shown(of("replay").map(({ metrics }) => metrics.baseRetention)),
    ]);
    const inside = html.slice(html.indexOf("Inside the model"));
    // Drift of the last state: 2 * 0.0625 after the first topic, five times that at the end.
    expect(inside).toContain("<td>0.125<small>");
    expect(inside).toContain("<td>0.625<small>");
    expect(inside).toContain("×5.00");
    expect(text(inside)).toContain("No hidden states of rag");
    // 0.82 * exp(-t / tau) halves with every topic: tau = 1 / ln 2
    expect(inside).toContain((1 / Math.log(2)).toFixed(2));
    expect(html).toContain("Protocol:</strong> exact match, free greedy generation");
    expect(html).toContain(escape("(NAR / seconds) / (NAR / seconds of full finetuning)"));
  });

  test("heat maps show the mean and the deviation of the seeds", () => {
    // 0.81, 0.82, 0.83: mean 0.82, deviation 0.01
    expect(html).toContain("0.820<small>±0.010</small>");
    expect(html.match(/<table class="heat">/g)?.length).toBe(3);
    expect(html).toContain("17, 18, 19");
    expect(html).toContain('class="spread"');
  });

  test("is one whole page without anything from outside", () => {
    expect(checkNesting(html)).toBeGreaterThan(1000);
    expect(html).not.toMatch(/https?:|src=|@import|url\(|<link|<script/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    const csv = /href="data:text\/csv;charset=utf-8;base64,([^"]*)"/.exec(html)?.[1] ?? "";
    const lines = Buffer.from(csv, "base64").toString().split("\r\n");
    expect(lines[0]).toMatch(/^method,runs,rkr,rkr±95,nar,/);
    expect(lines.slice(1, 4).map((line) => line.split(",")[0])).toEqual(["finetune", "replay", "rag"]);
    expect(Number(lines[1].split(",")[2])).toBeCloseTo(
      interval95(of("finetune").map(({ metrics }) => metrics.rkr))?.mean ?? 0,
      12,
    );
  });
});

test("every step of the heat map has text of contrast 4.5 or more, lines have 3 against the page", () => {
  const luminance = (colour: string) => {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  for (const mode of ["light", "dark"] as const) {
    for (const [background, text] of heat[mode])
      expect(contrast(background, text), `${mode} ${background}`).toBeGreaterThanOrEqual(4.5);
    for (const line of lines[mode])
      expect(contrast(line, mode === "light" ? "#ffffff" : "#15181c"), line).toBeGreaterThanOrEqual(3);
  }
});

test("ticks are round, ascending and enclose the data", () => {
  expect(niceTicks(2.12, 3.01)).toEqual([2, 2.25, 2.5, 2.75, 3, 3.25]);
  fc.assert(
    fc.property(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      (low, span) => {
        const ticks = niceTicks(low, low + span);
        const slack = 1e-6 * (Math.abs(low) + span + 1);
        expect(ticks.length).toBeGreaterThanOrEqual(2);
        expect(ticks.length).toBeLessThanOrEqual(9);
        expect(ticks[0]).toBeLessThanOrEqual(low + slack);
        expect(ticks[ticks.length - 1]).toBeGreaterThanOrEqual(low + span - slack);
      },
    ),
  );
});

test("a browser lays it out without sideways scrolling at 360 pixels", async (context) => {
  const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!browser) {
    console.log("report.test: no chromium, the page was not rendered");
    return context.skip();
  }
  const folder = await mkdtemp(join(tmpdir(), "mneme-report-"));
  try {
    await writeFile(join(folder, "report.html"), reportHtml([...runs, ...lab]));
    // A headless window is at least 500 pixels wide, so the phone is a frame. The page itself has no script: the frame asks.
    const frame =
      `<iframe src="report.html" width="360" height="800"></iframe><script>onload=()=>{` +
      `const d=frames[0].document,e=d.documentElement;document.body.dataset.seen=` +
      `JSON.stringify({wide:e.scrollWidth,client:e.clientWidth,svg:d.querySelectorAll("svg path").length,cells:d.querySelectorAll(".heat td[class]").length,` +
      `scripts:d.scripts.length,bad:[...d.querySelectorAll("svg path")].filter(p=>/NaN/.test(p.getAttribute("d"))).length})}</script>`;
    await writeFile(join(folder, "frame.html"), frame);
    const flags = [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--allow-file-access-from-files",
      `--user-data-dir=${join(folder, "profile")}`,
    ];
    const { stdout } = await promisify(execFile)(
      browser,
      [...flags, "--dump-dom", `file://${join(folder, "frame.html")}`],
      { timeout: 60_000 },
    );
    const seen = /data-seen="([^"]*)"/.exec(stdout)?.[1].replaceAll("&quot;", '"') ?? "{}";
    const { wide, client, svg, cells, scripts, bad } = JSON.parse(seen) as Record<string, number>;
    expect(wide).toBeLessThanOrEqual(client);
    expect(cells).toBe(2 * 4 * 3 + 3 * 6 * 5);
    expect(svg).toBeGreaterThan(20);
    expect({ scripts, bad }).toEqual({ scripts: 0, bad: 0 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 90_000);
