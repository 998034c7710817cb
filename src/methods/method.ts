/**
 * The contract of every continual-learning method: the remedies against forgetting and the memory systems alike.
 * Shared code never asks which method it holds; differences are properties that a method declares.
 */
import type { GenerateOptions } from "../models/generate.ts";
import type { Inspection } from "../models/inspect.ts";
import type { RatedTextScore, TextScore } from "../models/score.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import type { DocumentFace } from "./document-face.ts";
import type { FactFace } from "./fact-face.ts";

/** One text to learn. `time` orders documents (milliseconds since the epoch, or any increasing number). */
export interface Document {
  readonly id: string;
  readonly text: string;
  readonly topic?: string;
  readonly time?: number;
  /** What it states, one by one, for methods that write single facts. */
  readonly facts?: readonly StatedFact[];
  /** The same in other words each, for methods that learn from several wordings at once; `text` says no more than they. */
  readonly restated?: readonly string[];
}

/** A fact: what completes a prompt. */
export interface StatedFact {
  readonly prompt: Query;
  readonly target: string;
  /** Other prompts that it answers. */
  readonly rephrased?: readonly Query[];
  /** What it says, by a name: facts of one name are one fact, told in other words. */
  readonly about?: string;
}

/** What a method says while it works. The last event of `observe` is the receipt. */
export type MethodEvent =
  | {
      type: "step";
      step: number;
      steps: number | undefined;
      tokens: number;
      loss: number;
      learningRate: number;
      tokensPerSecond: number;
    }
  | { type: "validation"; step: number; bitsPerByte: number; best: boolean }
  /** What the method measured of itself at this step. */
  | { type: "figures"; step: number; figures: Figures }
  | { type: "checkpoint"; step: number; path: string }
  | { type: "note"; message: string }
  | { type: "receipt"; receipt: Receipt };

/** Numbers to draw: a chart by its name, its lines by theirs. */
export type Figures = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Proof of one write: what was learned, under which id it can be found, forgotten or reverted. */
export interface Receipt {
  readonly id: string;
  readonly documents: readonly string[];
  /** Older documents that went to make room for these. */
  readonly evicted?: readonly string[];
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Mean loss of the last step, nats per token. */
  readonly finalLoss: number;
  readonly stopped: "done" | "early-stop" | "token-budget" | "interrupted";
  /** Floating-point operations, by the method's own count (6 * parameters * tokens for full training). */
  readonly flops?: number;
  /** What became of each document, from methods that do not keep all of them. */
  readonly became?: readonly Fate[];
  /** Slots of a memory layer that were changed, in rising order, from methods that change no other weights. */
  readonly slots?: readonly number[];
}

/** What became of one document: the method's word for it, what it is now a part of, and what went for it. */
export interface Fate {
  readonly document: string;
  readonly deed: string;
  readonly into?: string;
  readonly gone: readonly string[];
}

/** Options of generation. All optional; the model decides what ends a text. */
export type Sampling = Omit<GenerateOptions, "tokenizer" | "eosIds">;

/** Log-likelihood of a continuation. `nats` is the negative log-likelihood, a sum over `tokens`. */
export type Score = TextScore;

/** One thing asked of a method. */
export interface Query {
  readonly text: string;
  /** "question" (the default) is put into the question prompt (prompt.ts); "completion" is a text to go on from. */
  readonly form?: "question" | "completion";
  /** Topic it belongs to, for methods that keep something per topic (task identity given). */
  readonly topic?: string;
  /** Id of the document that says the answer, where that is known: for controls that are told it (gold-context). */
  readonly document?: string;
}

export interface AnswerOptions {
  /** Most new tokens per answer. Default 24. */
  maxTokens?: number;
  /** Stops between two batches, with its reason as the error. */
  signal?: AbortSignal;
  /** Answers (of `rate`: tokens) done so far, and those there are in all. */
  onProgress?: (done: number, total: number) => void;
}

/** A given answer, its likelihood, and how many of its tokens are the model's first choice (teacher forcing). */
export type RatedAnswer = RatedTextScore;

/** Layers whose states are wanted: hidden states from 0 (the embeddings), attentions from 0 (the first layer). */
export interface Inspected {
  /** Default: all. */
  readonly hidden?: readonly number[];
  /** Default: none. */
  readonly attentions?: readonly number[];
}

/** Tensors and plain JSON: everything a method added to its base. */
export interface MethodState {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly json: Readonly<Record<string, unknown>>;
}

export interface ObserveOptions {
  /** Folder for mid-run checkpoints; with it a stopped run continues to the same numbers. */
  checkpoint?: string;
  /** Aborting ends the run at the next step with a resumable checkpoint. */
  signal?: AbortSignal;
}

/** A method attached to one base model. Created by `MethodDefinition.create`. */
export interface Method {
  readonly name: string;
  /** Can single receipts be forgotten? Then `forget` is there. */
  readonly canForget: boolean;
  /** Does it need a training phase on the base before it can observe? */
  readonly needsFit: boolean;
  /** Learn or write the documents; yields progress and ends with a receipt. */
  observe(documents: readonly Document[], options?: ObserveOptions): AsyncIterable<MethodEvent>;
  /** For methods that write facts one by one, into a memory that a ledger can keep. */
  readonly facts?: FactFace;
  /** For methods that keep whole documents in a bank. */
  readonly documents?: DocumentFace;
  /** Undo the write with this receipt id. */
  forget?(id: string): Promise<void>;
  /**
   * Negative log-likelihood of `continuation` after `prompt` (both may be longer than the context: scored in
   * windows).
   */
  score(prompt: string, continuation: string): Promise<Score>;
  /** Stream generated text, piece by piece. */
  generate(prompt: string, options?: Sampling): AsyncIterable<string>;
  /** Greedy answers, in the order asked; batched. An answer ends at a line break or end token and is trimmed. */
  answer(queries: readonly Query[], options?: AnswerOptions): Promise<string[]>;
  /** Teacher-forced likelihood of each given answer, which follows the prompt after one blank. */
  rate(pairs: readonly { query: Query; answer: string }[], options?: AnswerOptions): Promise<RatedAnswer[]>;
  /** Hidden states and attentions of the model as it is now, one inspection (B = 1) per text. */
  inspect?(texts: readonly string[], wanted: Inspected): Promise<Inspection[]>;
  /** Bytes that the method added to the base. */
  bytes(): number;
  /** Of a method that keeps a memory: what is in it now. */
  held?(): Figures;
  state(): Promise<MethodState>;
  restore(state: MethodState): Promise<void>;
  dispose(): Promise<void>;
}
