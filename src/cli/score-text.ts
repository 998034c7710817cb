/**
 * The score of a long text part by part, so that progress can be shown and Ctrl-C obeyed in between. Parts begin where
 * windows of the whole text would: the numbers are those of `scorer.scoreText("", text)`.
 */
import type { LoadedModel } from "../models/load.ts";
import { bitsPerByte, createScorer, type Scorer } from "../models/score.ts";
import type { Runtime } from "../runtime/runtime.ts";

export interface FileScore {
  readonly nats: number;
  /** Tokens that were scored. */
  readonly tokens: number;
  /** Bytes of the text in UTF-8. */
  readonly bytes: number;
  readonly natsPerToken: number;
  readonly bitsPerByte: number;
}

export interface TextScorer {
  score(
    text: string,
    options?: { onProgress?: (done: number, total: number) => void; signal?: AbortSignal },
  ): Promise<FileScore>;
  dispose(): Promise<void>;
}

/** The scores of several texts as of one. */
export function sumScores(scores: readonly FileScore[]): FileScore {
  const [nats, tokens, bytes] = (["nats", "tokens", "bytes"] as const).map((key) =>
    scores.reduce((total, score) => total + score[key], 0),
  );
  return { nats, tokens, bytes, natsPerToken: nats / tokens, bitsPerByte: bitsPerByte({ nats, bytes }) };
}

/** Windows in one part. */
const windowsPerPart = 64;
const longestWindow = 1024;

export async function createTextScorer(runtime: Runtime, model: LoadedModel): Promise<TextScorer> {
  const { tokenizer, geometry } = model;
  const scorer: Scorer = await createScorer(runtime, model, tokenizer);
  const contextLength = Math.min(geometry.context, longestWindow);
  const stride = Math.max(1, contextLength >> 1);
  const lead = contextLength + 1 - stride;
  return {
    dispose: () => scorer.dispose(),
    async score(text, { onProgress, signal } = {}) {
      const start = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
      const ids = [...start, ...tokenizer.encode(text, { addSpecialTokens: false })];
      let nats = 0;
      let tokens = 0;
      for (let from = 1; from < ids.length; ) {
        signal?.throwIfAborted();
        const begin = from === 1 ? 0 : from - lead;
        const first = from === 1 ? contextLength + 1 : from + stride;
        const to = Math.min(ids.length, first + stride * (windowsPerPart - 1));
        const [part] = await scorer.scoreSequences([{ ids: ids.slice(begin, to), from: from - begin }], {
          contextLength,
          stride,
        });
        nats += part.nats;
        tokens += part.tokens;
        from = to;
        onProgress?.(to, ids.length);
      }
      const bytes = Buffer.byteLength(text);
      return { nats, tokens, bytes, natsPerToken: nats / tokens, bitsPerByte: bitsPerByte({ nats, bytes }) };
    },
  };
}
