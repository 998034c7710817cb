/**
 * One run of a stream: configuration in, events out, result at the end. All that differs between places
 * (task, method, folder, clock, machine) is an argument. The run saves its progress after every cell and the method's
 * state after every topic, so it can be stopped or killed at any moment and goes on to the same numbers.
 */
import { isDeepStrictEqual } from "node:util";
import { readBase } from "../eval/diagnostics.ts";
import { advance, evaluateStream, isAbort, noProgress } from "../eval/harness.ts";
import { reportHtml } from "../eval/report.ts";
import type { MemoryValue, ReportRun, RunResult } from "../eval/result.ts";
import { summarize } from "../eval/summary.ts";
import type { Task } from "../eval/task.ts";
import { UserError } from "../errors.ts";
import type { Method } from "../methods/method.ts";
import { parseStreamConfig } from "./config.ts";
import type { StreamConfig } from "./config.ts";
import { valueInRun } from "./document-stats.ts";
import { lossPoints } from "./events.ts";
import type { RunEvent, RunEventBody } from "./events.ts";
import type { RunFolder } from "./folder.ts";
import { machineInfo, memoryUse, versionInfo } from "./machine.ts";
import type { MemoryUse } from "./machine.ts";
import { addSeconds, isState, loadSaved, type Saved, stateName } from "./progress.ts";
import { safetensorsStore } from "./state.ts";
import type { StateStore } from "./state.ts";

export interface StreamDeps {
  readonly task: Task;
  /** A fresh method on its untouched base, seeded with the configuration's seed. Disposed by the run. */
  createMethod(): Promise<Method>;
  readonly folder: RunFolder;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  readonly states?: StateStore;
  readonly versions?: Readonly<Record<string, string>>;
  readonly machine?: Readonly<Record<string, string | number>>;
  /** The method's runtime, to tell how much of the time was spent outside of it. */
  readonly runtime?: { seconds(): number };
  readonly memory?: () => MemoryUse;
  /** Keep the method's last state when the run is finished; only going on needs it. */
  readonly keepState?: boolean;
  /** Aborting ends the run in a resumable state. */
  readonly signal?: AbortSignal;
}

const checkpointName = (topic: number): string => `checkpoint-${topic}`;

/** What JSON keeps of a configuration: undefined options vanish in the file. */
const plainConfig = (config: StreamConfig): StreamConfig => JSON.parse(JSON.stringify(config)) as StreamConfig;

/** In a folder that has a run, checks that the configuration is the one it was started with. */
async function checkConfig(config: StreamConfig, folder: RunFolder): Promise<void> {
  const value = await folder.readJson("config.json");
  if (value === undefined) return;
  const plain = plainConfig(config);
  const before = parseStreamConfig(value, folder.file("config.json"));
  const differing = (Object.keys({ ...before, ...config }) as (keyof StreamConfig)[]).filter(
    // The folder may have been moved, and threads change the time, not the task.
    (key) => key !== "out" && key !== "threads" && !isDeepStrictEqual(before[key], plain[key]),
  );
  if (differing.length === 0) return;
  const [key] = differing;
  throw new UserError(
    `runStream: expected the configuration that ${folder.path} was started with, got another ${differing.join(", ")} ` +
      `(${key} was ${JSON.stringify(before[key])}); leave it out when resuming, or use another folder`,
  );
}

/** The configuration saved in a run folder, for resuming it. */
export async function savedConfig(folder: RunFolder): Promise<StreamConfig> {
  return parseStreamConfig(await folder.readJson("config.json"), folder.file("config.json"));
}

/** The result of a finished run with its loss curve, for a report over several runs. */
export async function loadReportRun(folder: RunFolder): Promise<ReportRun> {
  const result = (await folder.readJson("result.json")) as RunResult | undefined;
  if (!result) {
    throw new UserError(
      `loadReportRun: expected a finished run in ${folder.path}, got no result.json; resume the run first`,
    );
  }
  return { result, losses: lossPoints(await folder.events()) };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

interface Ended {
  readonly saved: Saved;
  readonly method: Method;
  readonly value: MemoryValue | undefined;
  readonly finished: number;
}

function resultOf(config: StreamConfig, deps: StreamDeps, { saved, method, value, finished }: Ended): RunResult {
  const { task, folder, versions = versionInfo(), machine = machineInfo() } = deps;
  const { runtime, ...durations } = saved.seconds;
  const { receipts, learned } = saved.progress;
  const flops = receipts.map((receipt) => receipt.flops);
  const summary = summarize(task, saved.progress, config);
  const documents = sum(task.topics.slice(0, learned).map((topic) => topic.documents.length));
  return {
    run: folder.name,
    task: task.name,
    metric: task.metric,
    protocol: task.protocol,
    method: method.name,
    model: config.model,
    seeds: [config.seed],
    ...summary,
    ...(value && { value, metrics: { ...summary.metrics, value: value.mean } }),
    cost: {
      seconds: sum(durations.learn),
      tokens: sum(receipts.map((receipt) => receipt.tokens)),
      flops: flops.every((count) => count !== undefined) ? sum(flops) : null,
      bytes: method.bytes(),
      bytesPerDocument: documents > 0 ? method.bytes() / documents : 0,
      peakMB: saved.peakBytes / 1e6,
    },
    outsideRuntimeShare: runtime === null || durations.total <= 0 ? null : Math.max(0, 1 - runtime / durations.total),
    config,
    versions,
    machine,
    durations,
    finished: new Date(finished).toISOString(),
  };
}

/**
 * Largest memory during a run. The process's own peak counts as soon as it grows; until then it may stem from work
 * before the run, and what the process holds at each event is taken.
 */
function memoryWatch(memory: () => MemoryUse): () => number {
  const before = memory().peak;
  let most = 0;
  return () => {
    const { now, peak } = memory();
    return (most = Math.max(most, now, peak > before ? peak : 0));
  };
}

/**
 * Runs a stream and yields its events, the last of which is "result" or "interrupted". Every event is also appended
 * to the folder's log. A folder that holds an unfinished run is continued; a finished one yields its result again.
 * The caller opens and closes the folder.
 */
export async function* runStream(config: StreamConfig, deps: StreamDeps): AsyncGenerator<RunEvent> {
  const { task, folder, clock = Date.now, states = safetensorsStore, runtime, memory = memoryUse, signal } = deps;
  await checkConfig(config, folder);
  const finished = (await folder.readJson("result.json")) as RunResult | undefined;
  const loaded = await loadSaved(folder, task, { finished: finished !== undefined });
  /** Removes the states but `kept`: what progress.json does not refer to, or all of them at the end. */
  const removeStates = async (kept: string | null = null) => {
    for (const name of await folder.list()) if (isState(name) && name !== kept) await folder.remove(name);
  };
  if (finished) {
    if (!deps.keepState) await removeStates();
    yield { time: clock(), type: "result", result: finished };
    return;
  }
  let saved: Saved = loaded ?? {
    fingerprint: task.fingerprint,
    state: null,
    progress: noProgress,
    seconds: { total: 0, learn: [], evaluate: [], runtime: runtime ? 0 : null },
    peakBytes: 0,
  };
  const peakBytes = memoryWatch(memory);
  const log = async (body: RunEventBody): Promise<RunEvent> => {
    const event = { ...body, time: clock() };
    await folder.append(event);
    return event;
  };
  const save = () => folder.writeJson("progress.json", saved);
  /** Removes what progress.json no longer refers to. */
  const tidy = async () => {
    await removeStates(saved.state);
    for (const name of await folder.list()) {
      const old = /^checkpoint-\d+$/.test(name) && Number(name.slice(11)) < saved.progress.learned;
      if (old) await folder.remove(name);
    }
  };

  await tidy();
  const method = await deps.createMethod();
  try {
    // Only now: options that the method refuses leave nothing behind.
    if (folder.isNew) await folder.writeJson("config.json", plainConfig(config));
    // What the base was like inside is read again from the method before it is restored: much less to keep than to do.
    const base = saved.state === null ? undefined : await readBase(method, task.diagnosticTexts);
    await task.prepare?.(method, { signal });
    if (saved.state !== null) await method.restore(await states.load(folder.file(saved.state)));
    yield await log({
      type: "run-start",
      run: folder.name,
      task: task.name,
      method: method.name,
      model: config.model,
      topics: task.topics.map((topic) => topic.name),
      learned: saved.progress.learned,
      resumed: loaded !== undefined,
    });
    const events = evaluateStream(task, method, {
      columns: config.columns,
      baseline: config.baseline,
      progress: saved.progress,
      base,
      checkpoint: (topic) => folder.file(checkpointName(topic)),
      signal,
    });
    const shift = config.baseline ? 1 : 0;
    let workedUntil = clock();
    let countedUntil = workedUntil;
    let runtimeUntil = runtime?.seconds() ?? 0;
    let outcome: Awaited<ReturnType<typeof events.next>>;
    try {
      for (outcome = await events.next(); !outcome.done; outcome = await events.next()) {
        const event = outcome.value;
        const now = clock();
        const inside = runtime?.seconds() ?? 0;
        const progress = advance(saved.progress, event);
        const times = {
          elapsed: (now - workedUntil) / 1000,
          wall: (now - countedUntil) / 1000,
          runtime: runtime ? inside - runtimeUntil : null,
          shift,
        };
        const seconds = addSeconds(saved.seconds, event, times);
        saved = { ...saved, progress, seconds, peakBytes: Math.max(saved.peakBytes, peakBytes()) };
        countedUntil = now;
        runtimeUntil = inside;
        if (event.type === "topic-learned") {
          // The new state first, then the progress that names it, then the old state goes: whole at every moment.
          const name = stateName(progress.learned);
          const state = await method.state();
          await folder.writeFolder(name, (path) => states.save(path, state));
          saved = { ...saved, state: name };
          await save();
          await tidy();
        } else if ("row" in event || (event.type === "method" && event.event.type === "checkpoint")) {
          // With a checkpoint of the method's the time that led to it: the sitting that goes on from it adds its own
          await save();
        }
        yield await log(event);
        if (event.type === "row") await folder.sync();
        workedUntil = clock();
      }
    } finally {
      // A consumer that leaves early must end the method's work as well.
      await events.return("interrupted");
    }
    let value: MemoryValue | undefined;
    let isDone = outcome.value === "done";
    try {
      if (isDone) value = await valueInRun(method, task, { signal });
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
      isDone = false;
    }
    if (!isDone) {
      await save();
      const { learned } = saved.progress;
      yield await log({ type: "interrupted", folder: folder.path, learned, topics: task.topics.length });
      await folder.sync();
      return;
    }
    const result = resultOf(config, deps, { saved, method, value, finished: clock() });
    const losses = lossPoints(await folder.events());
    await folder.writeText("report.html", reportHtml([{ result, losses }]));
    const event = await log({ type: "result", result });
    await folder.sync();
    // result.json marks the run as finished, so it comes last; what is only for going on goes after it.
    await folder.writeJson("result.json", result);
    if (!deps.keepState) await removeStates();
    yield event;
  } catch (error) {
    // The log is a courtesy here: the error itself must reach the caller even when the disk is full.
    await log({ type: "failed", message: error instanceof Error ? error.message : String(error) }).catch(
      () => undefined,
    );
    throw error;
  } finally {
    await method.dispose();
  }
}
