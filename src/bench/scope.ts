/**
 * `mneme bench scope`: how well the scope detectors tell questions about written facts from questions beside them, with
 * the vectors of a sentence encoder, and how fast the nearest of many facts is found. docs/scope.md says what is asked.
 */
import { join } from "node:path";
import { readTextFile, type TextFile } from "../checkpoint/text.ts";
import { measureScope, scopeRecordsOf, type ScopeSplits, splitRecords } from "../eval/scope.ts";
import { parseCounterfact } from "../eval/tasks/counterfact.ts";
import type { Edit } from "../eval/tasks/editing.ts";
import { worldScopeRecords } from "../eval/tasks/world/scope.ts";
import { parseZsre } from "../eval/tasks/zsre.ts";
import { createVectorStore } from "../memory/vector-store.ts";
import { createTextEmbedder } from "../models/embed-texts.ts";
import { NAMES_SHARE, withNames } from "../models/named-texts.ts";
import { embeddedFolder } from "../models/embedded.ts";
import { loadEncoder } from "../models/load.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { randomStream } from "../tensor/random.ts";
import { absent, type Measure, type Measurement, type MeasureOptions, timed, timings } from "./measure.ts";
import { spread } from "./stats.ts";
import { defineSuite } from "./suite.ts";

/** Worlds that are for nothing else; people in each. */
const worlds = { fit: 940, calibration: 950, evaluation: 960 } as const;
const people = { whole: 100, quick: 25 } as const;
const quickRecords = 120;

/** `value`: the equal error rate of the external detector with all facts written. */
async function measured(splits: ScopeSplits, { model, signal, log }: MeasureOptions): Promise<Measurement> {
  const runtime = createRuntime();
  try {
    const encoder = await loadEncoder(model);
    const embedder = await createTextEmbedder(runtime, encoder, { signal });
    try {
      const { width, embed } = embedder;
      const detectors = await measureScope(splits, {
        embed,
        width,
        named: withNames(embedder, encoder.tokenizer, { share: NAMES_SHARE }),
        signal,
      });
      for (const [name, { alone, together }] of Object.entries(detectors)) {
        const [one, all] = [alone, together].map(
          ({ equalErrorRate, f1 }) => `${(100 * equalErrorRate).toFixed(2)} % (F1 ${f1.toFixed(3)})`,
        );
        log(`${name}: equal error rate ${one} with one fact written, ${all} with all`);
      }
      const records = Object.fromEntries(Object.entries(splits).map(([name, some]) => [name, some.length]));
      return { value: detectors.external.together.equalErrorRate, records, width, detectors };
    } finally {
      await embedder.dispose();
    }
  } finally {
    await runtime.dispose();
  }
}

const ofWorlds =
  (written: "question" | "statement"): Measure =>
  (options) => {
    const size = people[options.quick ? "quick" : "whole"];
    const of = (split: keyof typeof worlds) =>
      worldScopeRecords({
        seed: worlds[split],
        people: size,
        split: split === "evaluation" ? "test" : "train",
        written,
      });
    return measured({ fit: of("fit"), calibration: of("calibration"), evaluation: of("evaluation") }, options);
  };

const ofFile =
  (name: string, parse: (file: TextFile) => Edit[]): Measure =>
  async (options) => {
    const path = options.data[name];
    if (path === undefined) return absent(`no file: give one with --data ${name}=FILE`);
    const records = scopeRecordsOf(parse(await readTextFile(path)));
    const some = options.quick ? records.slice(0, quickRecords) : records;
    return measured(splitRecords(some, randomStream(0, "scope", name)), options);
  };

/** Milliseconds to find the nearest of so many random facts, exactly; questions are near one, or near none. */
const nearestMs: Measure = async ({ quick, log }) => {
  const facts = quick ? 1000 : 100_000;
  const [width, asked, rounds] = [384, 8, quick ? 2 : 5];
  const random = randomStream(0, "nearest");
  const store = createVectorStore(width);
  const vectors = random.fillNormal(new Float32Array(1000 * width));
  const vector = (i: number): Float32Array => {
    const from = (i % 1000) * width;
    const own = vectors.slice(from, from + width);
    own[i % width] += 1 + i / 1000; // 1,000 drawn, each moved another way
    return own;
  };
  const addingMs = await timed(() => {
    for (let fact = 0; fact < facts; fact++) store.add(fact, vector(fact));
  });
  const near = Array.from({ length: asked }, (_, i) => vector(i * 97));
  const far = Array.from({ length: asked }, () => random.fillNormal(new Float32Array(width)));
  const together = Float32Array.from(far.flatMap((question) => [...question]));
  const perQuestion = (times: readonly number[]) => spread(times.map((ms) => ms / asked));
  const one = (questions: readonly Float32Array[]) => () => {
    for (const question of questions) store.nearest(question);
  };
  one(near)(); // compiles
  const [nearMs, farMs, togetherMs] = [
    perQuestion(await timings(rounds, one(near))),
    perQuestion(await timings(rounds, one(far))),
    perQuestion(await timings(rounds, () => store.nearest(together))),
  ];
  const changes = Math.min(facts, 1000);
  const changeMs = await timings(rounds, () => {
    for (let i = 0; i < changes; i++) {
      const fact = (i * 7919) % facts;
      store.remove(fact);
      store.add(fact, vector(fact));
    }
  });
  log(`nearestMs: ${facts} facts of ${width} numbers`);
  return {
    value: farMs.median,
    facts,
    width,
    bytes: store.bytes(),
    nearMs,
    farMs,
    togetherMs,
    addUs: (1000 * addingMs) / facts,
    removeAndAddUs: spread(changeMs.map((ms) => (1000 * ms) / changes)),
  };
};

export const scopeBench = defineSuite(
  "scope",
  {
    worldQuestions: ofWorlds("question"),
    worldStatements: ofWorlds("statement"),
    counterfact: ofFile("counterfact", parseCounterfact),
    zsre: ofFile("zsre", parseZsre),
    nearestMs,
  },
  { model: join(embeddedFolder, "mneme-embed"), data: ["counterfact", "zsre"] },
);
