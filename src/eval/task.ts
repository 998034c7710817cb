/**
 * What a method is measured on: topics that come one after another, and a score for each of them.
 * A stream of texts, questions with answers, edits of facts: each is one file in tasks/ that returns a Task.
 */
import type { Document, Method } from "../methods/method.ts";
import type { Direction } from "./metrics.ts";

/** One step of a stream: the documents that are learned together. How it is scored is the task's business. */
export interface Topic {
  readonly name: string;
  readonly documents: readonly Document[];
}

export interface Task {
  readonly name: string;
  /** In the order in which they are learned. Names are unique. */
  readonly topics: readonly Topic[];
  readonly direction: Direction;
  readonly unit: string;
  /** Hash of everything the scores depend on, so that a resumed run can refuse changed data. */
  readonly fingerprint: string;
  /** Score of one topic with the method as it is now. Leaves the method unchanged. */
  evaluate(method: Method, topicIndex: number): Promise<number>;
}
