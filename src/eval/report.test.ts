import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { metricsOf } from "./metrics.ts";
import type { ScoreMatrix } from "./metrics.ts";
import { escape } from "./report-html.ts";
import { heat, lines } from "./report-style.ts";
import { niceTicks } from "./report-svg.ts";
import { reportHtml } from "./report.ts";
import type { ReportRun } from "./result.ts";

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
  return {
    losses,
    result: {
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
    },
  };
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
    for (const odd of [
      [],
      [nothing],
      [one],
      [{ ...one, losses: [] }],
      [{ ...one, losses: [{ topic: 0, step: 0, loss: Number.NaN }] }],
    ]) {
      const page = reportHtml(odd);
      expect(page).toMatch(/<\/html>\s*$/);
      expect(page).not.toMatch(/NaN|undefined|Infinity/);
    }
  });

  test("property: any names leave the page's markup intact", () => {
    const tags = (page: string) => page.replace(/>[^<]*</g, "><").match(/<\/?[a-z0-9]+/g)?.length;
    const plain = tags(reportHtml([sample("m", [[1, 2, 3]])]));
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 30 }), (name) => {
        const run = sample(name, [[1, 2, 3]]);
        expect(tags(reportHtml([{ ...run, result: { ...run.result, run: name, model: name } }]))).toBe(plain);
      }),
      { numRuns: 50 },
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

test("a browser lays it out without sideways scrolling at 390 pixels", async (context) => {
  const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!browser) {
    console.log("report.test: no chromium, the page was not rendered");
    return context.skip();
  }
  const folder = await mkdtemp(join(tmpdir(), "mneme-report-"));
  try {
    await writeFile(join(folder, "report.html"), reportHtml(runs));
    // A headless window is at least 500 pixels wide, so the phone is a frame. The page itself has no script: the frame asks.
    const frame =
      `<iframe src="report.html" width="390" height="800"></iframe><script>onload=()=>{` +
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
    expect(cells).toBe(2 * 4 * 3);
    expect(svg).toBeGreaterThan(20);
    expect({ scripts, bad }).toEqual({ scripts: 0, bad: 0 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 90_000);
