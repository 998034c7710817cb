/** The score of a file as it is shown: beside its sums, the means. */
import { bitsPerByte, type TextScore } from "../models/score.ts";

export interface FileScore extends TextScore {
  readonly natsPerToken: number;
  readonly bitsPerByte: number;
}

/** The score of one text, or those of several as of one. */
export function fileScore(...scores: readonly TextScore[]): FileScore {
  const [nats, tokens, bytes] = (["nats", "tokens", "bytes"] as const).map((key) =>
    scores.reduce((total, score) => total + score[key], 0),
  );
  return { nats, tokens, bytes, natsPerToken: nats / tokens, bitsPerByte: bitsPerByte({ nats, bytes }) };
}
