/** The tool that writes measured numbers into the pages: its tables from hand-made cases, and the pages as they stand. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { FitLine } from "../tools/ablation-tables.ts";
import type { EvalResult } from "../tools/markdown-tables.ts";
import { type CsvRow, fillPage, type Measured, tables } from "../tools/results-tables.ts";
import { scriptArguments } from "./support/script.ts";

const nothing: Measured = {
  methods: [],
  shares: { methods: [], runs: [] },
  signs: [],
  equalLearning: [],
  tasks: [],
  larimar: {},
  bank: { results: {} },
};

/** Two seeds of fine-tuning, and replay of two shares. */
const methods: readonly CsvRow[] = [
  { method: "rag", rkr: "0.9", "rkr±95": "", nar: "0.5", "nar±95": "", cer: "1234.4", "cer±95": "", seconds: "0" },
  {
    method: "finetune",
    rkr: "0.612",
    "rkr±95": "0.244",
    nar: "0.88",
    "nar±95": "1e-17",
    cer: "1",
    "cer±95": "0",
    seconds: "32.04",
    bytes: "21902336",
    forgetting: "0.4",
    "probeRatios.knownWorld": "0.07",
  },
  { method: "replay", nar: "0.89", rkr: "0.8", forgetting: "0.15", "forgetting±95": "0.02" },
];
const shares: readonly CsvRow[] = [
  methods[1],
  { method: "replay, share 0.5, capacity 9", nar: "0.9", rkr: "0.95", forgetting: "0.05" },
  { ...methods[2], method: "replay, share 0.1" },
];
const runs: readonly CsvRow[] = [
  { method: "finetune", seed: "0", forgetting: "0.5" },
  { method: "finetune", seed: "1", forgetting: "0.3" },
  { method: "replay, share 0.1", seed: "0", forgetting: "0.1" },
  { method: "replay, share 0.1", seed: "1", forgetting: "0.12" },
  { method: "replay, share 0.5, capacity 9", seed: "0", forgetting: "0.05" },
];
const lines = (table: string | null): string[] => (table ?? "").split("\n");

describe("tables", () => {
  test("methods: one row each, halves where there are any", () => {
    expect(lines(tables.methods({ ...nothing, methods }, "en"))).toEqual([
      "| method | NAR | RKR | CER | forgetting | seconds | MB |",
      "|---|---:|---:|---:|---:|---:|---:|",
      "| `rag` | 0.50 | 0.90 | 1,234 | – | 0.0 | – |",
      "| `finetune` | 0.88 | 0.61 ± 0.24 | 1.00 | 0.40 | 32.0 | 21.90 |",
      "| `replay` | 0.89 | 0.80 | – | 0.15 ± 0.02 | – | – |",
    ]);
    expect(lines(tables.kept({ ...nothing, methods }, "zh"))[0]).toBe("| 方法 | 世界 0，之后/之前 |");
    const tuned = methods.map((row) => ({ ...row, method: row.method.replace("replay", "replay, epochs 4") }));
    expect(lines(tables.methods({ ...nothing, methods: tuned }, "en")).at(-1)).toMatch(/^\| `replay`, epochs 4 \|/);
  });

  test("larimar: a row for each file of a group, numbers in order, scores that nobody has left out", () => {
    const result = (exactMatch: number, half: number | null = null): EvalResult => ({
      task: "world-context",
      method: "larimar",
      protocol: "",
      seeds: half === null ? [0] : [0, 1, 2],
      metrics: { exactMatch },
      intervals: { exactMatch: half },
      cost: {},
    });
    const larimar = {
      "context-512-larimar": result(0.5),
      "context-64-rag": result(0.25, 0.125),
      "context-64-recursive": result(2048.4),
      "context-several-10": result(1),
      other: result(1),
    };
    expect(lines(tables["larimar-context"]({ ...nothing, larimar }, "en"))).toEqual([
      "|  | seeds | exactMatch |",
      "|---|---:|---:|",
      "| 64 recursive reading | 1 | 2,048 |",
      "| 64 retrieval | 3 | 0.250 ± 0.125 |",
      "| 512 Larimar | 1 | 0.500 |",
      "| several 10 | 1 | 1.000 |",
    ]);
    expect(tables["larimar-batch"]({ ...nothing, larimar }, "en")).toBeNull();
  });

  test("larimar: latencies beside their aims", () => {
    const ms = (median: number) => ({ median });
    const larimarBench = {
      writeForgetMs: { writeMs: ms(4.16), forgetMs: ms(3.7) },
      writeGrowth: { value: 0.984 },
      editSpeedup: { value: 6.95, editMs: ms(17.8), receiptMs: ms(628), finetuneMs: ms(124), finetuneSteps: ms(2) },
      smallEditSpeedup: { value: 1318.1, lora: 270.5, editMs: ms(21), finetuneMs: ms(27676), loraMs: ms(5680) },
    };
    const shown = lines(tables["larimar-latency"]({ ...nothing, larimarBench }, "en")) as string[];
    expect(shown[2]).toBe("| one write into a memory (K = 512, C = 768) | 4.2 ms | 10 ms at most |");
    expect(shown[4]).toContain("| ×0.98 | ×1.3 at most |");
    expect(shown[7]).toBe("| fine-tuning until the question is answered (2 steps) | 124.0 ms |  |");
    expect(shown.slice(8)).toEqual([
      "| fine-tuning over `edit` | ×7.0 | ×10 at least |",
      "| `edit`, shape of GPT-2 small, random weights | 21.0 ms |  |",
      "| 25 steps of full fine-tuning over it | ×1,318 | ×50 at least |",
      "| 25 steps of LoRA over it | ×271 | ×20 at least |",
    ]);
    expect(tables["larimar-latency"](nothing, "en")).toBeNull();
  });

  test("ablations of bank compression: fits with both of their readings, depths of the reference", () => {
    const result = (f1: number): EvalResult => ({
      task: "world-documents",
      method: "bank-compression",
      protocol: "",
      seeds: [0],
      metrics: { f1 },
      intervals: {},
      cost: {},
    });
    const fit = (used: number, measured: Record<string, number> = {}): FitLine => ({
      command: "fit",
      options: { codes: 512 },
      measured: { "least codes used": used, "least perplexity": 300.25, "quantisation loss": 0.0432, ...measured },
    });
    const ablations = {
      fits: { "gradient-random-no-reset": fit(0.125, { "least perplexity": 1.5 }), reference: fit(1) },
      results: {
        "reference-full": result(0.9),
        "reference-residual": result(0.8),
        "reference-depth-2": result(0.5),
        "reference-depth-1": result(0.25),
      },
    };
    const made = (table: string) => lines(tables[table]({ ...nothing, ablations }, "en"));
    expect(made("bank-ablations").slice(2)).toEqual([
      "| reference: averages, from data, with reset | 0.900 | 0.800 | 0.0432 | 0.0 % | 300.3 of 512 |",
      "| by gradient, from random numbers, without reset | – | – | 0.0432 | 87.5 % | 1.5 of 512 |",
    ]);
    expect(made("bank-ablation-depths").slice(2)).toEqual([
      "| 1 | 0.250 |",
      "| 2 | 0.500 |",
      "| all | 0.800 |",
      "| no quantisation | 0.900 |",
    ]);
    expect(tables["bank-ablations"](nothing, "en")).toBeNull();
    expect(tables["bank-ablation-depths"](nothing, "en")).toBeNull();
  });

  test("bank compression: what is kept of the first documents, what the memory gains, bits without the module", () => {
    const result = (f1: number, more: Partial<EvalResult> = {}): EvalResult => ({
      task: "world-documents",
      method: "bank-compression",
      protocol: "",
      seeds: [0],
      metrics: { f1 },
      intervals: {},
      cost: { seconds: 1, bytes: 5000, bytesPerDocument: 50 },
      ...more,
    });
    const matrix = {
      R: [
        [0.6, null],
        [0.55, 0.7],
      ],
      baseline: [0.1, 0.1],
    };
    const results = {
      "control-none": result(0.1),
      "control-adapters": result(0.3),
      "mode-residual": result(0.9),
      "retention-mac": result(0.6, { matrix }),
      "depth-2": result(0.5),
      "mode-mac": result(1),
      "depth-1": result(0.25, { method: "rag" }),
      "policy-bandit": result(0.5, { metrics: { f1: 0.5, reward: 0.4, value: 2, forgetting: null } }),
    };
    const bank = { results, bench: { bytes: { value: 0.1, moduleBytes: 1000 } } };
    const made = (table: string) => lines(tables[table]({ ...nothing, bank }, "en"));
    // 100 documents in 4,000 bytes beside the module's 1,000
    expect(made("bank-depths")).toEqual([
      "|  | seeds | f1 | bits per document | of mac's f1 |",
      "|---|---:|---:|---:|---:|",
      "| 1 | 1 | 0.250 | – | 25.0 % |",
      "| 2 | 1 | 0.500 | 320 | 50.0 % |",
      "| all | 1 | 0.900 | 320 | 90.0 % |",
    ]);
    expect(made("bank-policies").slice(0, 1).concat(made("bank-policies").slice(2))).toEqual([
      "|  | seeds | reward | f1 | value | bytes of the bank |",
      "| bandit | 1 | 0.400 | 0.500 | 2.000 | 4,000 |",
    ]);
    // (0.55 - 0.1) / (0.6 - 0.1)
    expect(made("bank-retention")[2]).toBe("| mac | 0.100 | 0.600 | 0.550 | 90.0 % |");
    expect(made("bank-verdict").slice(2)).toEqual([
      "| the base alone | 1 | 0.100 | – |",
      "| with the adapters, no memory | 1 | 0.300 | 25 % |",
      "| the memory, `mbc-residual` | 1 | 0.900 | 100 % |",
      "| the memory in full precision, `mac`, 4 entries | 1 | 1.000 | 113 % |",
    ]);
    expect(tables["bank-bytes"]({ ...nothing, bank }, "en")).toBeNull();
    expect(tables["bank-verdict"](nothing, "en")).toBeNull();
  });

  test("replay: the cut of forgetting in each seed's own world, by growing share", () => {
    // 1 - 0.1 / 0.5 and 1 - 0.12 / 0.3: 0.8 and 0.6, half of their interval 12.706 * 0.1
    expect(lines(tables["replay-share"]({ ...nothing, shares: { methods: shares, runs } }, "en")).slice(2)).toEqual([
      "| 0% | 0.40 | – | 0.61 ± 0.24 | 0.88 |",
      "| 10% | 0.15 ± 0.02 | 70% ± 127% | 0.80 | 0.89 |",
      "| 50%, capacity 9 | 0.05 | 90% | 0.95 | 0.90 |",
    ]);
    expect(tables["replay-share"]({ ...nothing, shares: { methods: shares.slice(0, 1), runs } }, "en")).toBeNull();
  });

  test("signs: what was claimed, then the methods that can be looked into", () => {
    const signs: CsvRow[] = [
      { method: "rag", driftGrowth: "", decayR2: "0.16" },
      { method: "finetune", driftFirst: "0.79", driftGrowth: "1.383", "driftGrowth±95": "0.151", decayPoints: "15" },
    ];
    const [head, , claim, ...rows] = lines(tables.signs({ ...nothing, signs }, "en"));
    expect(head).toMatch(/^\| method \| distance, first topic \|/);
    expect(claim).toBe("| *published claim* |  |  | ×4 (+300%) | ×2-3 |  | exponential |  |  |");
    expect(rows).toEqual(["| `finetune` | 0.79 | – | ×1.38 ± 0.15 | – | – | – | – | 15 |"]);
  });

  test("equal learning: a dash where no settings lie around the point; the best setting of each", () => {
    const equalLearning: CsvRow[] = [
      { method: "none", settings: "1", leastNar: "0", mostNar: "0", best: "" },
      {
        method: "lora",
        settings: "4",
        leastNar: "0.3",
        mostNar: "0.9",
        "rkr@0.7": "0.4",
        best: "epochs 3",
        "best.nar": "0.8",
      },
    ];
    expect(lines(tables["equal-learning"]({ ...nothing, equalLearning }, "en"))).toEqual([
      "| method | settings | NAR of its settings | RKR at 70% | base retention at 70% | seconds at 70% |",
      "|---|---:|---:|---:|---:|---:|",
      "| `none` | 1 | 0.00-0.00 | – | – | – |",
      "| `lora` | 4 | 0.30-0.90 | 0.40 | – | – |",
    ]);
    expect(lines(tables["own-best"]({ ...nothing, equalLearning }, "en")).slice(2)).toEqual([
      "| `lora` | epochs 3 | 0.80 | – | – |",
    ]);
  });

  test("public tasks: a table each with its protocol; scores under teacher forcing stand apart", () => {
    const result = {
      task: "zsre",
      method: "lora",
      protocol: "efficacy: free greedy answers",
      seeds: [0],
      metrics: { efficacy: 0.5, efficacyTokens: 0.75, acc: 0.5, nar: 0.6, rkr: null, forgetting: 0.1, cer: 2 },
      intervals: { efficacy: 0.125 },
      cost: { seconds: 3, bytes: 2e6 },
    };
    const squad = { ...result, task: "squad", protocol: "closed book", metrics: { f1: 0.25 } };
    expect((tables.tasks({ ...nothing, tasks: [result, squad] }, "en") ?? "").split("\n\n")).toEqual([
      "**`zsre`.** Efficacy: free greedy answers.",
      "| method | efficacy | forgetting | NAR | RKR | seconds | MB |\n|---|---:|---:|---:|---:|---:|---:|\n" +
        "| `lora` | 0.50 ± 0.13 | 0.10 | 0.60 | – | 3.0 | 2.00 |",
      "Under teacher forcing, shares of right tokens:",
      "| method | efficacyTokens |\n|---|---:|\n| `lora` | 0.75 |",
      "**`squad`.** Closed book.",
      "| method | f1 | forgetting | NAR | RKR | seconds | MB |\n|---|---:|---:|---:|---:|---:|---:|\n" +
        "| `lora` | 0.25 | – | – | – | 3.0 | 2.00 |",
    ]);
    const other = { ...result, protocol: "something else" };
    expect(() => tables.tasks({ ...nothing, tasks: [result, other] }, "en")).toThrow("scored by 2 protocols");
  });
});

describe("pages", () => {
  const page =
    "Prose.\n\n<!-- table methods -->\nold\n<!-- /table -->\n\nMore $& prose.\n\n<!-- table tasks -->\n<!-- /table -->\n";

  test("tables are written between their markers, prose stays, and a second time changes nothing", () => {
    const measured = { ...nothing, methods };
    const { page: written, missing } = fillPage(page, measured, "en");
    expect(written).toBe(
      `Prose.\n\n<!-- table methods -->\n\n${tables.methods(measured, "en")}\n\n<!-- /table -->\n\nMore $& prose.\n\n` +
        "<!-- table tasks -->\n\n*Not measured yet.*\n\n<!-- /table -->\n",
    );
    expect(missing).toEqual(["tasks"]);
    expect(fillPage(written, measured, "en").page).toBe(written);
    expect(fillPage(written, nothing, "zh").missing).toEqual(["methods", "tasks"]);
  });

  test("an unknown table and a marker without its end are refused", () => {
    expect(() => fillPage(page.replace("methods", "metods"), nothing, "en")).toThrow("there is no table metods");
    expect(() => fillPage(page.replace("<!-- /table -->", ""), nothing, "en")).toThrow("is not followed by");
  });

  test("say what the files in results/ say", { timeout: 240_000 }, () => {
    const args = [...scriptArguments("tools/results.ts"), "--check"];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});
