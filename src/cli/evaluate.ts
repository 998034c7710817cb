/** One evaluation at the terminal: its events as they come, the means over its seeds at the end. */
import { parseMethodOptions } from "../methods/definition.ts";
import { methodNamed } from "../methods/index.ts";
import type { LoadedModel } from "../models/load.ts";
import { type EvaluationDeps, type EvaluationRecord, runEvaluation } from "../runs/evaluation.ts";
import type { RunEvent } from "../runs/events.ts";
import type { Summary } from "../runs/summary.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { follow } from "./follow.ts";
import type { Session } from "./session.ts";
import { Interrupted } from "./signals.ts";

export interface EvaluateOptions extends Pick<EvaluationDeps, "folder" | "store" | "createTask"> {
  readonly model: LoadedModel;
  readonly runtime: Runtime;
  /** The command line that goes on when this is stopped. */
  readonly resume: string;
  readonly onEvent?: (seed: number, event: RunEvent) => Promise<void>;
}

/** Runs what is left of an evaluation. Throws Interrupted when the session's signal stops it. */
export async function evaluate(
  session: Session,
  record: EvaluationRecord,
  { folder, store, createTask, model, runtime, resume, onEvent }: EvaluateOptions,
): Promise<Summary> {
  const { method, methodOptions, seeds } = record.plan;
  const definition = methodNamed(method);
  const options = parseMethodOptions(definition, methodOptions);
  const createMethod = (seed: number) => definition.create(model, options, { runtime, seed });
  const { signal } = session;
  const events = runEvaluation(record, { folder, store, createTask, createMethod, runtime, signal });
  const show = follow(session);
  let next: Awaited<ReturnType<typeof events.next>>;
  try {
    for (next = await events.next(); !next.done; next = await events.next()) {
      const { seed, event } = next.value;
      show(seeds.length > 1 ? `${method} seed ${seed}` : method, event);
      await onEvent?.(seed, event);
    }
  } finally {
    // A failure here must end the method's work as well
    await events.return(undefined);
    session.progress.clear();
  }
  if (next.value === undefined) throw new Interrupted(resume);
  return next.value;
}
