/**
 * Log-likelihood of token sequences and texts: batched, in windows where a sequence exceeds the context.
 * Two graphs: the body gives the hidden rows before each scored token, the head turns them into the one
 * log-probability wanted, a few rows at a time, so that [rows, V] scores never pile up or leave the graph.
 *
 * Convention of texts: a text follows the start token if the tokenizer has one, and then all its tokens are scored.
 * Without one the first token cannot be scored and adds nothing to `nats` and `tokens`, but its bytes count.
 * Bits per byte = nats / ln 2 / bytes, with bytes those of the text in UTF-8.
 */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { lazy } from "../runtime/lazy.ts";
import type { Program, Runtime } from "../runtime/runtime.ts";
import { float32Host, int32Host } from "../tensor/dtype.ts";
import { argmax, cast, crossEntropy, equal, gather, input, rows } from "../tensor/functions.ts";
import type { Condition, ConditionKind } from "./condition.ts";
import { requireIds } from "./ids.ts";
import { type CompileOptions, frozenWeights, liveWeights, type Model, modelParams } from "./instance.ts";
import { planWindows, type Window, type WindowOptions } from "./score-windows.ts";

/** Token ids of which those from index `from` on are scored (at least 1: the first token follows nothing). */
interface ScoredSequence {
  readonly ids: ArrayLike<number>;
  readonly from?: number;
  /** Told beside the text, whose prompt ends before `from`. */
  readonly condition?: Condition;
}

interface SequenceScore {
  /** Negative log-likelihood, summed over the scored tokens. */
  readonly nats: number;
  readonly tokens: number;
}

export interface TextScore extends SequenceScore {
  /** UTF-8 bytes of the scored text. */
  readonly bytes: number;
}

export interface RatedTextScore extends TextScore {
  /** Of `tokens`, how many are the model's first choice given the right tokens before. */
  readonly correct: number;
}

interface ScoreOptions extends Partial<WindowOptions> {
  /** Called after every run, with the tokens scored so far and those to be scored in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Stops between two runs, with its reason as the error. */
  readonly signal?: AbortSignal;
}

export interface Scorer {
  /** Many sequences; those of similar length share a run. Results in the order given. */
  scoreSequences(sequences: readonly ScoredSequence[], options?: ScoreOptions): Promise<SequenceScore[]>;
  /** Each continuation after its prompt. */
  scorePairs(
    pairs: readonly { prompt: readonly number[]; continuation: readonly number[] }[],
    options?: ScoreOptions,
  ): Promise<SequenceScore[]>;
  /**
   * The text `continuation` after the text `prompt`, which may be "". Both are encoded as one text; scored is every
   * token from the first that the prompt alone would not begin with.
   */
  scoreText(prompt: string, continuation: string, options?: ScoreOptions, condition?: Condition): Promise<TextScore>;
  /** As `scoreText`, for many texts in shared runs, and with the count of tokens that the model would have chosen. */
  rateTexts(
    pairs: readonly { prompt: string; continuation: string; condition?: Condition }[],
    options?: ScoreOptions,
  ): Promise<RatedTextScore[]>;
  dispose(): Promise<void>;
}

/** Longest window unless asked for more: attention costs grow with its square. */
const LONGEST = 1024;
/** Tokens read in one run of the body. */
const TOKENS_PER_RUN = 4096;
/** Scores in one run of the head: 64 MiB. */
const SCORES_PER_RUN = 1 << 24;

interface Job extends Window {
  readonly sequence: number;
  readonly ids: ArrayLike<number>;
  /** Where the scored tokens of the whole sequence begin. */
  readonly first: number;
  readonly condition?: Condition;
}

/** nats / ln 2 / bytes. */
export const bitsPerByte = ({ nats, bytes }: Pick<TextScore, "nats" | "bytes">): number => nats / Math.LN2 / bytes;

/** Bits per byte of several texts together, each scored by itself. */
export async function meanBitsPerByte(
  texts: readonly string[],
  score: (text: string) => Promise<Pick<TextScore, "nats" | "bytes">>,
): Promise<number> {
  let [nats, bytes] = [0, 0];
  for (const text of texts) {
    const one = await score(text);
    nats += one.nats;
    bytes += one.bytes;
  }
  return bitsPerByte({ nats, bytes });
}

export interface ScorerOptions extends CompileOptions {
  /** Every sequence is told a condition of this kind beside its text. */
  conditioned?: ConditionKind;
}

/** Compile a model for scoring. */
export async function createScorer(
  runtime: Runtime,
  model: Model,
  tokenizer: Tokenizer,
  { frozen = false, conditioned }: ScorerOptions = {},
): Promise<Scorer> {
  const { definition, config, geometry } = model;
  const { width: C, vocabulary: V } = geometry;
  const p = modelParams(model);
  const { final } = definition.forward(p, config, {
    ids: input("ids", "int32", ["B", "T"]),
    ...conditioned?.inputs(geometry),
  });
  const baked = frozen ? frozenWeights(model) : undefined;
  const body = await runtime.compile({ hidden: gather(rows(final), input("places", "int32", ["N"])) }, baked);
  const logits = definition.logits(p, config, input("hidden", "float32", ["N", C]));
  const targetIds = input("targets", "int32", ["N"]);
  const nats = crossEntropy(logits, targetIds);
  const head = await runtime.compile({ nats }, baked);
  const live = { body: liveWeights(body, model), head: liveWeights(head, model) };
  /** Compiled when first needed: counting hits costs one more pass over the scores. */
  const rating = lazy(() => runtime.compile({ nats, hits: cast(equal(argmax(logits), targetIds), "int32") }, baked));
  const rowsPerRun = Math.max(1, Math.floor(SCORES_PER_RUN / V));

  /** Windows of one run: `add(sequence, nats, hit)` for every scored token; hit (0 or 1) with the rating head only. */
  const runBatch = async (
    jobs: readonly Job[],
    scoring: Program,
    add: (sequence: number, nats: number, hit: number) => void,
  ): Promise<void> => {
    const B = jobs.length;
    const T = Math.max(...jobs.map(({ start, to }) => to - 1 - start));
    const ids = new Int32Array(B * T); // filled up with token 0 on the right, where a causal model does not look
    const places: number[] = [];
    const targets: number[] = [];
    const owners: number[] = [];
    for (const [b, job] of jobs.entries()) {
      for (let t = job.start; t < job.to - 1; t++) ids[b * T + t - job.start] = job.ids[t];
      for (let t = job.from; t < job.to; t++) {
        places.push(b * T + t - 1 - job.start);
        targets.push(job.ids[t]);
        owners.push(job.sequence);
      }
    }
    const told = jobs.flatMap(({ condition, first, start }) =>
      condition ? { ...condition, last: first - 1 - start } : [],
    );
    const { hidden } = await body.run({
      ...live.body,
      ...conditioned?.feeds(
        geometry,
        told,
        Int32Array.from({ length: B * T }, (_, i) => i % T),
      ),
      ids: int32Host([B, T], ids),
      places: int32Host([places.length], places),
    });
    const data = hidden.data as Float32Array;
    for (let start = 0; start < places.length; start += rowsPerRun) {
      const count = Math.min(rowsPerRun, places.length - start);
      const found = await scoring.run({
        ...live.head,
        hidden: float32Host([count, C], data.subarray(start * C, (start + count) * C)),
        targets: int32Host([count], targets.slice(start, start + count)),
      });
      for (let i = 0; i < count; i++) {
        add(owners[start + i], found.nats.data[i] as number, (found.hits?.data[i] as number | undefined) ?? 0);
      }
    }
  };

  const runAll = async (
    sequences: readonly ScoredSequence[],
    scoring: Program,
    { contextLength = Math.min(geometry.context, LONGEST), stride, onProgress, signal }: ScoreOptions = {},
  ): Promise<(SequenceScore & { correct: number })[]> => {
    if (contextLength > geometry.context) {
      throw new UserError(
        `score: expected a context length of at most ${geometry.context} tokens (the model's context), got ` +
          `${contextLength}`,
      );
    }
    const jobs: Job[] = sequences.flatMap(({ ids, from = 1, condition }, sequence) => {
      requireIds("score", ids, V);
      const windows = planWindows(ids.length, Math.max(1, from), {
        contextLength,
        stride: stride ?? Math.max(1, contextLength >> 1),
      });
      return windows.map((window) => ({ ...window, sequence, ids, first: from, condition }));
    });
    const results = sequences.map(() => ({ nats: 0, tokens: 0, correct: 0 }));
    const total = jobs.reduce((sum, { from, to }) => sum + to - from, 0);
    let done = 0;
    for (const batch of batchesOf(jobs)) {
      signal?.throwIfAborted();
      await runBatch(batch, scoring, (sequence, nats, hit) => {
        results[sequence].nats += nats;
        results[sequence].tokens++;
        results[sequence].correct += hit;
        done++;
      });
      onProgress?.(done, total);
    }
    return results;
  };

  const scoreSequences: Scorer["scoreSequences"] = async (sequences, options) =>
    (await runAll(sequences, head, options)).map(({ nats, tokens }) => ({ nats, tokens }));

  /** Both texts encoded as one, scored from the first token that the prompt alone would not begin with. */
  const sequenceOf = (prompt: string, continuation: string): ScoredSequence => {
    if (continuation === "") throw new UserError("score: expected text to score, got none; give a continuation");
    const start = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
    const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
    const whole = encode(prompt + continuation);
    const before = prompt === "" ? [] : encode(prompt);
    const shared = before.findIndex((id, i) => whole[i] !== id);
    const from = start.length + (shared < 0 ? before.length : shared);
    return { ids: [...start, ...whole], from };
  };

  return {
    scoreSequences,
    scorePairs(pairs, options) {
      const sequences = pairs.map(({ prompt, continuation }) => ({
        ids: [...prompt, ...continuation],
        from: prompt.length,
      }));
      return scoreSequences(sequences, options);
    },
    async scoreText(prompt, continuation, options, condition) {
      const [score] = await scoreSequences([{ ...sequenceOf(prompt, continuation), condition }], options);
      return { ...score, bytes: Buffer.byteLength(continuation) };
    },
    async rateTexts(pairs, options) {
      const sequences = pairs.map(({ prompt, continuation, condition }) => ({
        ...sequenceOf(prompt, continuation),
        condition,
      }));
      const scores = await runAll(sequences, await rating.get(), options);
      return scores.map((score, i) => ({ ...score, bytes: Buffer.byteLength(pairs[i].continuation) }));
    },
    async dispose() {
      await body.release();
      await head.release();
      await rating.made()?.then((program) => program.release());
    },
  };
}

/** Windows of similar length together. */
function* batchesOf(jobs: readonly Job[]): Generator<Job[]> {
  const size = ({ start, to }: Job): number => to - 1 - start;
  const order = [...jobs].sort((a, b) => size(a) - size(b));
  let batch: Job[] = [];
  for (const job of order) {
    if (batch.length > 0 && (batch.length + 1) * size(job) > TOKENS_PER_RUN) {
      yield batch;
      batch = [];
    }
    batch.push(job);
  }
  if (batch.length > 0) yield batch;
}
