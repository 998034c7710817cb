import { describe, expect, test } from "vitest";
import { fakeMethod, sampleTexts } from "../../tests/support/fake-method.ts";
import { UserError } from "../errors.ts";
import type { Method } from "../methods/method.ts";
import { advance, evaluateStream, matrixOf, noProgress } from "./harness.ts";
import type { StreamEvent, StreamOptions, StreamProgress } from "./harness.ts";
import { textTask } from "./tasks/text.ts";

const task = textTask(sampleTexts());

async function collect(method: Method, options: StreamOptions = {}, onEvent: (event: StreamEvent) => void = () => {}) {
  const events: StreamEvent[] = [];
  let progress: StreamProgress = options.progress ?? noProgress;
  const stream = evaluateStream(task, method, options);
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
  const row = async () => [
    await task.evaluate(method, 0),
    await task.evaluate(method, 1),
    await task.evaluate(method, 2),
  ];
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
  expect(progress.R).toEqual(expected.R);
  expect(progress.baseline).toEqual(expected.baseline);
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
  expect(matrixOf(task, progress)).toMatchObject({
    topics: ["a.txt", "b.txt", "c.txt"],
    direction: "lower",
    R: expected.R,
  });
  for (let j = 0; j < 3; j++) expect(expected.R[j][j]).toBeLessThan(expected.baseline[j] - 1);
  expect(expected.R[2][0]).toBeGreaterThan(expected.R[0][0]);
});

test("columns seen leaves later topics null, baseline false leaves the baseline out", async () => {
  const { progress, events } = await collect(fakeMethod(), { columns: "seen", baseline: false });
  const expected = await byHand();
  expect(progress.R).toEqual(expected.R.map((row, i) => row.map((value, j) => (j <= i ? value : null))));
  expect(progress.baseline).toEqual([]);
  expect(matrixOf(task, progress).baseline).toBeNull();
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
    const wrong: StreamProgress = { learned: 5, baseline: [], R: [], receipts: [] };
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
      progress.R.flat().forEach((value, i) => expect(value).toBe(reference.progress.R.flat()[i]));
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
