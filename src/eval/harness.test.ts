import { describe, expect, test } from "vitest";
import { fakeMethod, sampleTexts } from "../../tests/support/fake-method.ts";
import { richTask, transparentMethod } from "../../tests/support/rich-stream.ts";
import { UserError } from "../errors.ts";
import type { Method } from "../methods/method.ts";
import { readBase } from "./diagnostics.ts";
import { advance, evaluateStream, noProgress } from "./harness.ts";
import type { StreamEvent, StreamOptions, StreamProgress } from "./harness.ts";
import { summarize } from "./summary.ts";
import type { Task } from "./task.ts";
import { textTask } from "./tasks/text.ts";

const task = textTask(sampleTexts());
/** The cells as they fill R. */
const matrix = (progress: StreamProgress) =>
  progress.rows.map(({ cells }) => cells.map((scores) => scores?.bitsPerByte ?? null));

async function collect(
  method: Method,
  options: StreamOptions & { of?: Task } = {},
  onEvent: (event: StreamEvent) => void = () => {},
) {
  const events: StreamEvent[] = [];
  let progress: StreamProgress = options.progress ?? noProgress;
  const stream = evaluateStream(options.of ?? task, method, options);
  for (let next = await stream.next(); ; next = await stream.next()) {
    if (next.done) return { events, progress, outcome: next.value };
    events.push(next.value);
    progress = advance(progress, next.value);
    onEvent(next.value);
  }
}

/** The same numbers by the plainest possible loop. */
async function byHand(): Promise<{ baseline: number[]; R: number[][] }> {
  const method = fakeMethod();
  const score = async (topic: number) => (await task.evaluate(method, topic)).bitsPerByte;
  const row = async () => [await score(0), await score(1), await score(2)];
  const baseline = await row();
  const R: number[][] = [];
  for (const topic of task.topics) {
    for await (const _ of method.observe(topic.documents)) void _;
    R.push(await row());
  }
  return { baseline, R };
}

test("fills the matrix like the plain loop, in order, and the method learns and forgets", async () => {
  const { events, progress, outcome } = await collect(fakeMethod());
  const expected = await byHand();
  expect(outcome).toBe("done");
  expect(matrix(progress)).toEqual(expected.R);
  expect(progress.baseline.cells).toEqual(expected.baseline.map((bitsPerByte) => ({ bitsPerByte })));
  expect(progress.receipts.map((receipt) => receipt.id)).toEqual(["a.txt", "b.txt", "c.txt"]);
  const shape = events
    .filter((event) => event.type !== "method")
    .map((event) => (event.type === "cell" ? `${event.row},${event.column}` : event.type));
  expect(shape.slice(0, 10)).toEqual([
    "-1,0",
    "-1,1",
    "-1,2",
    "row",
    "topic-start",
    "topic-learned",
    "0,0",
    "0,1",
    "0,2",
    "row",
  ]);
  expect(summarize(task, progress)).toMatchObject({
    matrix: { topics: ["a.txt", "b.txt", "c.txt"], direction: "lower", unit: "bits per byte", ...expected },
    scores: { bitsPerByte: expected },
    probes: {},
    metrics: { bitsPerByte: (expected.R[2][0] + expected.R[2][1] + expected.R[2][2]) / 3, rkr: null, nar: null },
    diagnostics: { insides: null },
  });
  for (let j = 0; j < 3; j++) expect(expected.R[j][j]).toBeLessThan(expected.baseline[j] - 1);
  expect(expected.R[2][0]).toBeGreaterThan(expected.R[0][0]);
});

test("columns seen leaves later topics null, baseline false leaves the baseline out", async () => {
  const { progress, events } = await collect(fakeMethod(), { columns: "seen", baseline: false });
  const expected = await byHand();
  expect(matrix(progress)).toEqual(expected.R.map((row, i) => row.map((value, j) => (j <= i ? value : null))));
  expect(progress.baseline.cells).toEqual([]);
  expect(summarize(task, progress).matrix.baseline).toBeNull();
  expect(events[0]).toMatchObject({ type: "topic-start", topic: 0 });
});

describe("resuming", () => {
  test("from every event at which a caller may save gives the unbroken numbers", async () => {
    const whole = await collect(fakeMethod());
    const method = fakeMethod();
    let progress: StreamProgress = noProgress;
    let state = await method.state();
    const saves: { progress: StreamProgress; state: typeof state }[] = [];
    for await (const event of evaluateStream(task, method)) {
      progress = advance(progress, event);
      if (event.type === "topic-learned") state = await method.state();
      if (event.type === "topic-learned" || event.type === "cell") saves.push({ progress, state });
    }
    expect(saves).toHaveLength(15);
    for (const saved of saves) {
      const again = fakeMethod({ seed: 99 });
      await again.restore(saved.state);
      const rest = await collect(again, { progress: JSON.parse(JSON.stringify(saved.progress)) as StreamProgress });
      expect(rest.progress).toEqual(whole.progress);
      expect(again.calls.observed).toHaveLength(3 - saved.progress.learned);
    }
  });

  test("a progress of another stream is refused", async () => {
    const wrong: StreamProgress = { ...noProgress, learned: 5 };
    await expect(collect(fakeMethod(), { progress: wrong })).rejects.toThrow(UserError);
  });
});

describe("stopping", () => {
  test("an aborted signal ends the stream between cells and inside a topic", async () => {
    const reference = await collect(fakeMethod());
    for (const stopAt of [0, 2, 5, 12, 30, 45]) {
      const stop = new AbortController();
      let seen = 0;
      const { outcome, progress } = await collect(fakeMethod(), { signal: stop.signal }, () => {
        if (seen++ === stopAt) stop.abort();
      });
      expect(outcome).toBe("interrupted");
      expect(progress.learned).toBeLessThanOrEqual(3);
      const expected = matrix(reference.progress).flat();
      matrix(progress)
        .flat()
        .forEach((value, i) => expect(value).toBe(expected[i]));
    }
  });

  test("an AbortError of the method counts as interrupted, any other error passes through", async () => {
    const stop = new AbortController();
    const throwing = (error: Error): Method => ({
      ...fakeMethod(),
      async *observe() {
        yield { type: "note", message: "begin" };
        throw error;
      },
    });
    const abort = Object.assign(new Error("stopped"), { name: "AbortError" });
    await expect(collect(throwing(abort))).rejects.toBe(abort);
    const { outcome } = await collect(throwing(abort), { signal: stop.signal }, (event) => {
      if (event.type === "method") stop.abort();
    });
    expect(outcome).toBe("interrupted");
    await expect(collect(throwing(new UserError("x: NaN loss")))).rejects.toThrow("NaN loss");
  });
});

test("a score that is not a number and a method without a receipt are errors", async () => {
  const nan: Method = { ...fakeMethod(), score: async () => ({ nats: Number.NaN, tokens: 1, bytes: 1 }) };
  await expect(collect(nan)).rejects.toThrow(/expected a finite score of a\.txt, got NaN/);
  const silent: Method = { ...fakeMethod(), async *observe() {} };
  await expect(collect(silent)).rejects.toThrow(/internal: .*without a receipt/);
});

describe("named scores, probes and a look inside", () => {
  const rich = richTask();

  test("are all measured before the first topic and after every topic", async () => {
    const method = transparentMethod();
    const { progress, events } = await collect(method, { of: rich });
    const kinds = events.filter((event) => "row" in event && event.row === 1).map((event) => event.type);
    expect(kinds).toEqual(["cell", "cell", "cell", "probe", "probe", "snapshot", "row"]);
    const { matrix: R, scores, probes, metrics, diagnostics } = summarize(rich, progress);
    expect(scores.share.R).toEqual(R.R);
    expect(scores.other.R.map((row) => row[1])).toEqual([null, null, null]);
    expect(scores.other.baseline?.[2]).toBeCloseTo(8, 6);
    expect(metrics.other).toBeCloseTo(((scores.other.R[2][0] ?? 0) + (scores.other.R[2][2] ?? 0)) / 2, 12);
    expect(metrics.share).toBe(metrics.acc);
    expect(probes.old).toMatchObject({ before: Math.log(256) / 10, direction: "higher", unit: "share" });
    expect(probes.books.after).toHaveLength(3);
    expect(metrics.baseRetention).toBe((probes.old.after[2] ?? 0) / (Math.log(256) / 10));
    expect(metrics.probeRatios).toEqual({
      old: metrics.baseRetention,
      books: (probes.books.after[2] ?? 0) / Math.log(256),
    });
    const { insides } = diagnostics;
    expect(insides?.before?.drift.map(({ relativeL2, cosine }) => [relativeL2, cosine])).toEqual([
      [0, expect.closeTo(1, 9)],
      [0, expect.closeTo(1, 9)],
    ]);
    expect(insides?.after).toHaveLength(3);
    // The embeddings stay; the state above them moves with what is learned.
    expect(insides?.after[2].drift[0].relativeL2).toBe(0);
    expect(insides?.after[2].drift[1].relativeL2).toBeGreaterThan(0.01);
    expect(insides?.driftRatio.map(([still]) => still)).toEqual([null, null, null]);
    expect(insides?.driftRatio[0][1]).toBe(1);
    // Key tokens 4 and 5 of "abcdef" see 5 and 6 tokens evenly, the last of "xyz" 3.
    const entropy = (Math.log(5) + Math.log(6) + Math.log(3)) / 3;
    expect(insides?.before?.attentionEntropy).toEqual([[expect.closeTo(entropy, 6)]]);
    expect(insides?.entropyRatio).toEqual([[[1]], [[1]], [[1]]]);
    // Once to find the number of layers, once for the base, then once a row.
    expect(method.asked).toEqual(["{}", ...Array.from({ length: 5 }, () => '{"hidden":[0,1],"attentions":[0]}')]);
  });

  test("resuming from every event gives the same summary; without the base there are no snapshots", async () => {
    const whole = await collect(transparentMethod(), { of: rich });
    const method = transparentMethod();
    const base = await readBase(transparentMethod(), rich.diagnosticTexts);
    let progress: StreamProgress = noProgress;
    let state = await method.state();
    const saves: { progress: StreamProgress; state: typeof state }[] = [];
    for await (const event of evaluateStream(rich, method)) {
      progress = advance(progress, event);
      if (event.type === "topic-learned") state = await method.state();
      saves.push({ progress, state });
    }
    for (const saved of saves.filter((_, i) => i % 5 === 0)) {
      const again = transparentMethod({ seed: 99 });
      await again.restore(saved.state);
      const kept = JSON.parse(JSON.stringify(saved.progress)) as StreamProgress;
      const rest = await collect(again, { of: rich, progress: kept, base });
      expect(summarize(rich, rest.progress)).toEqual(summarize(rich, whole.progress));
    }
  });

  test("a method that cannot be looked into has no snapshots", async () => {
    const { progress } = await collect(fakeMethod(), { of: rich });
    expect(progress.rows.map(({ snapshot }) => snapshot)).toEqual([null, null, null]);
    expect(summarize(rich, progress).diagnostics).toMatchObject({ insides: null, decay: { all: { points: 6 } } });
  });

  test("an abort inside of a score interrupts, and a probe that is no number is named", async () => {
    const stop = new AbortController();
    const slow: Task = {
      ...rich,
      async evaluate(method, topic, { signal } = {}) {
        if (topic === 1) stop.abort();
        signal?.throwIfAborted();
        return rich.evaluate(method, topic);
      },
    };
    const { outcome, progress } = await collect(fakeMethod(), { of: slow, signal: stop.signal });
    expect({ outcome, cells: progress.baseline.cells.length }).toEqual({ outcome: "interrupted", cells: 1 });
    const broken: Task = { ...rich, probes: [{ ...rich.probes![0], evaluate: async () => Number.NaN }] };
    await expect(collect(fakeMethod(), { of: broken })).rejects.toThrow(/finite score of a probe, got NaN for old/);
    const nameless: Task = { ...rich, metric: "nothing" };
    await expect(collect(fakeMethod(), { of: nameless })).rejects.toThrow(/internal: .*no score nothing/);
  });
});
