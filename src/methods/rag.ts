/**
 * Retrieval-augmented generation without training (https://arxiv.org/abs/2302.00083): before every question stand the
 * pieces of the kept documents that fit it best, found by BM25, by sentence embeddings, or by both (rank fusion).
 * No weight changes, so nothing learned is lost; what is found and understood is another matter.
 * Differs from the paper: several pieces instead of one, the best of them next to the question; no reranking.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import { createEmbedder } from "../models/embed.ts";
import { resolveModel } from "../models/embedded.ts";
import { loadEncoder } from "../models/load.ts";
import { lazy } from "../runtime/lazy.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Host } from "../tensor/dtype.ts";
import { contextFace } from "./context-face.ts";
import { defineMethod } from "./definition.ts";
import { documentStore, saveDocuments } from "./documents.ts";
import { readingFlops } from "./flops.ts";
import type { Document, MethodState } from "./method.ts";
import { documentBreak } from "./prompt.ts";
import { createBm25 } from "./retrieval/bm25.ts";
import { chunksOf } from "./retrieval/chunks.ts";
import { fuseRankings } from "./retrieval/rank-fusion.ts";
import { createVectorIndex } from "./retrieval/vectors.ts";

const options = z.object({
  retriever: z
    .enum(["bm25", "embedding", "both"])
    .default("bm25")
    .describe("how pieces are found: by their words, by sentence embeddings, or by both rankings fused"),
  embedder: z
    .string()
    .min(1)
    .default("mneme-embed")
    .describe("sentence encoder for embeddings: an embedded model, a folder or a hub id"),
  chunkTokens: z
    .int()
    .min(8)
    .default(128)
    .describe("most tokens per piece of a document, at most a quarter of the context"),
  topK: z.int().positive().default(3).describe("pieces before a question, as far as they fit"),
});

/** Candidates of each ranking before they are fused. */
const FUSED = 50;
/** Of a long text, its end: what is said last is what comes next is about (cf. section 3.2 of the paper). */
const QUERY_CHARACTERS = 400;
/** Texts embedded between two looks at the signal. */
const EMBEDDED_AT_ONCE = 256;

interface Embedding {
  embed(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]>;
  /** Floating-point operations of embedding these texts, each at its own length. */
  flops(texts: readonly string[]): number;
  dispose(): Promise<void>;
}

async function openEmbedding(runtime: Runtime, name: string): Promise<Embedding> {
  const { folder } = await resolveModel(name).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    const why = error.message.replace(/^model: /, "");
    throw new UserError(`rag: the sentence encoder of --embedder is not there: ${why}; or use --retriever bm25`);
  });
  const encoder = await loadEncoder(folder);
  const embedder = await createEmbedder(runtime, encoder, { truncate: true });
  return {
    async embed(texts, signal) {
      const vectors: Float32Array[] = [];
      for (let start = 0; start < texts.length && !signal?.aborted; start += EMBEDDED_AT_ONCE) {
        const rows = texts.slice(start, start + EMBEDDED_AT_ONCE).map((text) => encoder.tokenizer.encode(text));
        const found = await embedder.embed(rows);
        for (const i of rows.keys()) vectors.push(found.slice(i * embedder.width, (i + 1) * embedder.width));
      }
      return vectors;
    },
    flops: (texts) =>
      texts.reduce((sum, text) => {
        const tokens = encoder.tokenizer.encode(text).length;
        return sum + readingFlops(encoder, Math.min(tokens, encoder.geometry.context));
      }, 0),
    dispose: embedder.dispose,
  };
}

export const rag = defineMethod({
  name: "rag",
  summary: "keep the documents and put the pieces that fit a question before it",
  paper: "https://arxiv.org/abs/2302.00083",
  options,
  async create(base, { retriever, embedder, chunkTokens, topK }, { runtime }) {
    const { tokenizer } = base;
    const tokensOf = (text: string): number => tokenizer.encode(text, { addSpecialTokens: false }).length;
    // Of a larger piece nothing might fit before a question
    const pieceTokens = Math.min(chunkTokens, base.geometry.context >> 2);
    const piecesOf = ({ text }: Document): string[] => chunksOf(text, pieceTokens, tokensOf);
    const usesVectors = retriever !== "bm25";
    const embedding = lazy(() => openEmbedding(runtime, embedder));
    /** By key, which grows from piece to piece. */
    const chunks = new Map<number, string>();
    const keysOf = new Map<Document, number[]>();
    let nextKey = 0;
    let words = createBm25();
    let vectors = createVectorIndex();

    const addPieces = (document: Document, pieces: readonly string[], embedded?: readonly Float32Array[]): void => {
      const keys = pieces.map((text, i) => {
        const key = nextKey++;
        chunks.set(key, text);
        words.add(key, text);
        if (embedded) vectors.add(key, embedded[i]);
        return key;
      });
      keysOf.set(document, keys);
    };

    const store = documentStore({
      name: "rag",
      tokensOf,
      async onAdd(documents, signal) {
        const pieces = documents.map(piecesOf);
        const encoder = usesVectors ? await embedding.get() : undefined;
        const embedded = await encoder?.embed(pieces.flat(), signal);
        if (signal?.aborted) return 0;
        let at = 0;
        for (const [i, document] of documents.entries()) {
          addPieces(document, pieces[i], embedded?.slice(at, at + pieces[i].length));
          at += pieces[i].length;
        }
        return encoder?.flops(pieces.flat()) ?? 0;
      },
      onForget(documents) {
        for (const document of documents) {
          for (const key of keysOf.get(document) ?? []) {
            chunks.delete(key);
            words.remove(key);
            vectors.remove(key);
          }
          keysOf.delete(document);
        }
      },
    });

    const rankings = async (texts: readonly string[]): Promise<number[][]> => {
      const depth = retriever === "both" ? Math.max(FUSED, topK) : topK;
      const byWords = (text: string): number[] => words.search(text, depth).map(({ key }) => key);
      if (!usesVectors) return texts.map(byWords);
      const asked = await (await embedding.get()).embed(texts.map((text) => text || " "));
      const byVector = asked.map((vector) => vectors.search(vector, depth));
      return retriever === "both"
        ? texts.map((text, i) => fuseRankings([byWords(text), byVector[i]]).slice(0, topK))
        : byVector;
    };

    const face = contextFace({
      base,
      runtime,
      async find(queries, room) {
        if (chunks.size === 0) return queries.map(() => []);
        const ranked = await rankings(queries.map(({ text }) => text.slice(-QUERY_CHARACTERS)));
        return ranked.map((keys) => {
          const taken: string[] = [];
          let left = room;
          for (const key of keys) {
            const text = chunks.get(key) as string;
            const tokens = tokensOf(text + documentBreak);
            if (tokens > left) continue;
            taken.push(text);
            left -= tokens;
          }
          return taken.reverse();
        });
      },
    });

    return {
      name: "rag",
      canForget: true,
      needsFit: false,
      observe: store.observe,
      forget: store.forget,
      ...face,
      bytes: () => store.bytes() + words.bytes() + vectors.bytes(),
      async state(): Promise<MethodState> {
        const kept = [...chunks.keys()].map((key) => vectors.get(key)).filter((vector) => vector !== undefined);
        const all = new Float32Array(kept.length * vectors.width());
        for (const [i, vector] of kept.entries()) all.set(vector, i * vectors.width());
        return {
          tensors: usesVectors && kept.length > 0 ? { vectors: float32Host([kept.length, vectors.width()], all) } : {},
          json: { ...store.json(), chunkTokens, ...(usesVectors && { embedder }) },
        };
      },
      async restore({ tensors, json }) {
        const before = usesVectors ? { chunkTokens, embedder } : { chunkTokens };
        for (const [key, value] of Object.entries(before)) {
          if (json[key] !== value) {
            throw new UserError(
              `rag: expected a state with ${key} ${value}, got ${String(json[key] ?? "none")}; use the options it ` +
                "was made with",
            );
          }
        }
        store.restore(json);
        chunks.clear();
        keysOf.clear();
        [words, vectors] = [createBm25(), createVectorIndex()];
        const documents = store.documents();
        const pieces = documents.map(piecesOf);
        const count = pieces.flat().length;
        const saved = tensors.vectors;
        if (usesVectors && count > 0 && (saved?.dtype !== "float32" || saved.shape[0] !== count)) {
          throw new UserError(
            `rag: expected ${count} saved vectors, got ${saved?.shape[0] ?? "none"}; the state is damaged, observe ` +
              "the documents again",
          );
        }
        const vectorAt = (i: number): Float32Array =>
          (saved.data as Float32Array).slice(i * saved.shape[1], (i + 1) * saved.shape[1]);
        let at = 0;
        for (const [i, document] of documents.entries()) {
          const first = at;
          addPieces(document, pieces[i], usesVectors ? pieces[i].map((_, k) => vectorAt(first + k)) : undefined);
          at += pieces[i].length;
        }
      },
      async dispose() {
        await face.dispose();
        await embedding.made()?.then((made) => made.dispose());
      },
    };
  },
  save: (method, _base, folder) => saveDocuments(method, folder),
});
