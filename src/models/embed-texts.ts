/** Texts to vectors with an encoder, in lots small enough to stop between them. */
import { createEmbedder } from "./embed.ts";
import type { LoadedEncoder } from "./load.ts";
import type { ProgramOptions, Runtime } from "../runtime/runtime.ts";

/** Texts embedded between two looks at the signal. */
const AT_ONCE = 512;

export interface TextEmbedder {
  /** C. */
  readonly width: number;
  /** N texts -> [N, C], rows of length 1; texts longer than the encoder's context are cut. */
  embed(texts: readonly string[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

export interface TextEmbedderOptions extends ProgramOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export async function createTextEmbedder(
  runtime: Runtime,
  encoder: LoadedEncoder,
  { signal, onProgress = () => {}, spin }: TextEmbedderOptions = {},
): Promise<TextEmbedder> {
  const { width, embed, dispose } = await createEmbedder(runtime, encoder, { truncate: true, spin });
  return {
    width,
    dispose,
    async embed(texts) {
      const vectors = new Float32Array(texts.length * width);
      for (let start = 0; start < texts.length; start += AT_ONCE) {
        signal?.throwIfAborted();
        const rows = texts.slice(start, start + AT_ONCE).map((text) => encoder.tokenizer.encode(text));
        vectors.set(await embed(rows), start * width);
        onProgress(start + rows.length, texts.length);
      }
      return vectors;
    },
  };
}
