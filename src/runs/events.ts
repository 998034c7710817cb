/**
 * Everything a run says, as one discriminated union. The terminal, the event log and later the server read it;
 * none of them knows more about a run than this.
 */
import type { StreamEvent } from "../eval/harness.ts";
import type { LossPoint, RunResult } from "../eval/result.ts";

/** An event before it gets its time. */
export type RunEventBody =
  | {
      type: "run-start";
      run: string;
      task: string;
      method: string;
      model: string;
      topics: readonly string[];
      /** Topics learned by earlier sittings of the same run. */
      learned: number;
      resumed: boolean;
    }
  | StreamEvent
  /** Stopped by its signal; the folder holds what is needed to go on. */
  | { type: "interrupted"; folder: string; learned: number; topics: number }
  /** An error ended this sitting; it is thrown as well. What was saved before can be resumed. */
  | { type: "failed"; message: string }
  | { type: "result"; result: RunResult };

/** `time` is the clock of the run, milliseconds since the epoch. */
export type RunEvent = RunEventBody & { readonly time: number };

/**
 * The training losses in a log. A resumed run repeats the steps that came after its last checkpoint:
 * a step number that does not grow replaces the steps from there on.
 */
export function lossPoints(events: Iterable<RunEvent>): LossPoint[] {
  const topics = new Map<number, LossPoint[]>();
  for (const event of events) {
    if (event.type !== "method" || event.event.type !== "step") continue;
    const { step, loss } = event.event;
    const points = topics.get(event.topic) ?? [];
    while (points.length > 0 && points[points.length - 1].step >= step) points.pop();
    points.push({ topic: event.topic, step, loss });
    topics.set(event.topic, points);
  }
  return [...topics.keys()].sort((a, b) => a - b).flatMap((topic) => topics.get(topic) ?? []);
}
