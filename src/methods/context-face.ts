/**
 * A frozen model that is asked with documents before the question: what prompting methods share. A method says which
 * documents belong before a text and how many tokens they may take; here they are fitted into the context.
 * Likelihood of longer texts follows in-context retrieval (https://arxiv.org/abs/2302.00083, section 3): the text is
 * scored in windows, each with the documents for what stands before it, never for what is scored.
 */
import { fitsGraph } from "../models/instance.ts";
import type { LoadedModel } from "../models/load.ts";
import { planWindows } from "../models/score-windows.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { UserError } from "../errors.ts";
import { languageFace } from "./language.ts";
import type { AnswerOptions, Method, Query } from "./method.ts";
import { documentBreak, promptOf } from "./prompt.ts";

export interface ContextFaceOptions {
  readonly base: LoadedModel;
  readonly runtime: Runtime;
  /**
   * The documents for each query, in the order of the prompt; together, with a break behind each, about `room` tokens
   * at most. Where they do not quite fit, the first are left out.
   */
  readonly find: (queries: readonly Query[], room: number) => Promise<readonly (readonly string[])[]>;
}

export type ContextFace = Pick<Method, "score" | "generate" | "answer" | "rate" | "dispose">;

/** What fits of a document that is too long by itself: its first or its last tokens. */
export function cutToFit({ tokenizer }: LoadedModel, text: string, room: number, part: "first" | "last"): string {
  const idsOf = (one: string): number[] => tokenizer.encode(one, { addSpecialTokens: false });
  const ids = idsOf(text);
  const most = Math.max(0, room - idsOf(documentBreak).length);
  if (ids.length <= most) return text;
  const kept = part === "last" ? ids.slice(ids.length - most) : ids.slice(0, most);
  return tokenizer.decode(kept).replaceAll("\uFFFD", ""); // bytes of a character cut in two
}

/**
 * Room is given in steps, so that questions of similar length get the same documents, which are then read only
 * once.
 */
const ROOM_STEP = 64;

export function contextFace({ base, runtime, find }: ContextFaceOptions): ContextFace {
  const { tokenizer, eosIds } = base;
  const { context } = base.geometry;
  const face = languageFace({ runtime, model: base, tokenizer, eosIds, frozen: fitsGraph(base) });
  const idsOf = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const start = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];

  /** Prompts whose tokens, and `behind` more each, fit into the context; with the room that their documents had. */
  const promptsFor = async (
    queries: readonly Query[],
    behind: readonly number[],
  ): Promise<{ prompt: string; room: number }[]> => {
    const rooms = queries.map((query, i) => {
      const bare = start.length + idsOf(documentBreak + promptOf(query)).length + behind[i];
      return Math.max(0, context - Math.ceil(bare / ROOM_STEP) * ROOM_STEP);
    });
    const prompts = queries.map((query, i) => ({ prompt: promptOf(query), room: rooms[i] }));
    for (const room of new Set(rooms)) {
      if (room === 0) continue;
      const members = [...queries.keys()].filter((i) => rooms[i] === room);
      const found = await find(
        members.map((i) => queries[i]),
        room,
      );
      for (const [k, i] of members.entries()) {
        for (let first = 0; first <= found[k].length; first++) {
          prompts[i].prompt = promptOf(queries[i], found[k].slice(first));
          if (start.length + idsOf(prompts[i].prompt).length + behind[i] <= context) break;
        }
      }
    }
    return prompts;
  };

  const answer = async (
    queries: readonly Query[],
    { maxTokens = 24, signal, onProgress }: AnswerOptions = {},
  ): Promise<string[]> => {
    const prompts = await promptsFor(
      queries,
      queries.map(() => maxTokens),
    );
    const answers = queries.map(() => "");
    let done = 0;
    // Prompts of one room begin alike where the documents are the same for all
    for (const room of new Set(prompts.map((prompt) => prompt.room))) {
      const members = [...queries.keys()].filter((i) => prompts[i].room === room);
      const found = await face.answer(
        members.map((i) => prompts[i].prompt),
        { maxTokens, signal, onProgress: (part) => onProgress?.(done + part, queries.length) },
      );
      for (const [k, i] of members.entries()) answers[i] = found[k];
      done += members.length;
    }
    return answers;
  };

  const score: Method["score"] = async (prompt, continuation) => {
    if (continuation === "") throw new UserError("score: expected text to score, got none; give a continuation");
    const whole = idsOf(prompt + continuation);
    const before = idsOf(prompt);
    const different = before.findIndex((id, i) => whole[i] !== id);
    const from = different < 0 ? before.length : different;
    // Documents may take what the text leaves, and half of the context where it is long
    const room = Math.max(context >> 1, context - 1 - start.length - whole.length);
    const plan = planWindows(whole.length + 1, from + 1, {
      contextLength: context - room,
      stride: Math.max(1, (context - room) >> 1),
    });
    // A window's indices count a place before the text: the last token of what is put before it
    const read = plan.map(({ start: first, from: next }): Query => {
      return { text: tokenizer.decode(whole.slice(Math.max(0, first - 1), next - 1)), form: "completion" };
    });
    const found = await find(read, room - start.length);
    if (found.every((documents) => documents.length === 0)) return face.score(prompt, continuation);
    const sequences = plan.map((window, i) => {
      const documents = idsOf(found[i].map((text) => text + documentBreak).join(""));
      const most = room - start.length;
      const head = [...start, ...documents.slice(Math.max(0, documents.length - most))];
      const ids = [...head, ...whole.slice(Math.max(0, window.start - 1), window.to - 1)];
      return { ids, from: head.length + window.from - Math.max(1, window.start) };
    });
    const scores = await face.scoreIds(sequences);
    return {
      nats: scores.reduce((sum, { nats }) => sum + nats, 0),
      tokens: scores.reduce((sum, { tokens }) => sum + tokens, 0),
      bytes: Buffer.byteLength(continuation),
    };
  };

  return {
    score,
    async *generate(prompt, options = {}) {
      const behind = Math.min(options.maxTokens ?? 256, context >> 2);
      const [{ prompt: whole }] = await promptsFor([{ text: prompt, form: "completion" }], [behind]);
      yield* face.generate(whole, options);
    },
    answer,
    async rate(pairs, options) {
      const behind = pairs.map((pair) => idsOf(` ${pair.answer.trim()}`).length + 1);
      const prompts = await promptsFor(
        pairs.map(({ query }) => query),
        behind,
      );
      return face.rate(
        pairs.map((pair, i) => ({ prompt: prompts[i].prompt, answer: pair.answer })),
        options,
      );
    },
    dispose: face.dispose,
  };
}
