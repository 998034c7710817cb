/**
 * What a model is to the rest: named shapes and a forward pass over symbolic tensors; causal ones also have a head.
 * One file per `model_type` implements it; configuration fields and parameter paths are the checkpoint's own.
 * Letters: B batch, T tokens at hand, S given embeddings, P past tokens, C width, V vocabulary, H heads, K key/value
 * heads, D head size.
 */
import type { KeyValues } from "../nn/attention.ts";
import type { Params } from "../nn/params.ts";
import type { SlotReads } from "../nn/product-keys.ts";
import type { Tensor } from "../tensor/graph.ts";

/** The sizes that shared code needs, whatever a config calls them. */
export interface Geometry {
  readonly layers: number;
  readonly width: number;
  readonly vocabulary: number;
  /** Longest sequence in tokens. */
  readonly context: number;
  /** Of the queries. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Keys and values of tokens already read, per layer, with the position of each (negative: padding, invisible). */
interface Past {
  readonly layers: readonly KeyValues[];
  /** int32 [B, P]. */
  readonly positions: Tensor;
}

export interface ForwardInputs {
  /** int32 [B, T]. */
  readonly ids: Tensor;
  /** int32 [T] or [B, T]; 0..T-1 when absent. Negative: padding. */
  readonly positions?: Tensor;
  readonly past?: Past;
  /** Extra keys and values per layer that every query sees (methods inject them); undefined for untouched layers. */
  readonly prefix?: readonly (KeyValues | undefined)[];
  /** Added to the embeddings of the tokens, [B, T, C]. */
  readonly added?: Tensor;
  /**
   * Only what follows the last token is asked for: the last layer gives keys and values of all, but one state, T =
   * 1.
   */
  readonly lastOnly?: boolean;
}

export interface ForwardOutputs {
  /** After the final norm, [B, T, C]: what the head reads. */
  readonly final: Tensor;
  /** Input of the first layer, then the output of every layer, [B, T, C] each. */
  readonly hidden: readonly Tensor[];
  /** Attention weights of every layer, [B, H, T, S]. */
  readonly attentions: readonly Tensor[];
  /** Keys and values of the tokens at hand, per layer, [B, K, T, D]. */
  readonly present: readonly KeyValues[];
  /** What the tokens read of a memory, per layer that has one; M = B T, row by row. */
  readonly reads: readonly (SlotReads & { readonly layer: number })[];
}

/** What every architecture tells about its checkpoints. `C` is its parsed config.json. */
interface Architecture<C> {
  readonly modelType: string;
  parseConfig(json: unknown): C;
  geometry(config: C): Geometry;
  /** Every tensor the model needs, by checkpoint name. */
  shapes(config: C): Record<string, readonly number[]>;
  /**
   * The canonical name of a tensor in a file; undefined to ignore it (buffers, tied copies). `file` tells what else is
   * there, for those that may be stored under any one of several names.
   */
  canonicalName(name: string, config: C, file?: { has(name: string): boolean }): string | undefined;
  /** Paths of the linear layers in the blocks, beside which adapters may sit. */
  linearPaths(config: C): string[];
  /** Are their weights stored [in, out]? Else [out, in]. */
  readonly linearInputFirst: boolean;
}

/** A model that predicts the next token. */
export interface ModelDefinition<C = unknown> extends Architecture<C> {
  readonly kind: "causal";
  /** Paths of the attentions and feed-forwards, behind which adapters may sit: two per layer, from the first on. */
  sublayerPaths(config: C): string[];
  /**
   * Tables of which a pass reads a few rows, whatever their length: they are neither copied into a graph nor have
   * dense gradients.
   */
  tables(config: C): string[];
  forward(p: Params, config: C, inputs: ForwardInputs): ForwardOutputs;
  /**
   * Keys [B, K, S, D] turned as if they stood at these positions (int32 [S] or [B, S], negative to undo it); absent
   * where a key does not depend on its position.
   */
  rotated?(config: C, keys: Tensor, positions: Tensor): Tensor;
  /** Scores of the next token: hidden [..., C] -> [..., V]. */
  logits(p: Params, config: C, hidden: Tensor): Tensor;
}

export interface EncoderInputs {
  /** int32 [B, T]. */
  readonly ids: Tensor;
  /** int32 [B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
  /** int32 [B, T]: which of two sentences; all 0 when absent. */
  readonly tokenTypes?: Tensor;
}

export interface EncoderOutputs {
  /** The embeddings, then the output of every layer, [B, T, C] each. */
  readonly hidden: readonly Tensor[];
  /** Attention weights of every layer, [B, H, T, T]. */
  readonly attentions: readonly Tensor[];
}

/** A model that reads both ways and has no head: text to vectors. */
export interface EncoderDefinition<C = unknown> extends Architecture<C> {
  readonly kind: "encoder";
  /** Tensors that a checkpoint may have or lack: the pooler. */
  optionalShapes(config: C): Record<string, readonly number[]>;
  /** The token that fills up short rows. */
  padId(config: C): number;
  forward(p: Params, config: C, inputs: EncoderInputs): EncoderOutputs;
  /** tanh(W h + b) of the first token, [B, T, C] -> [B, C]; fails without the pooler's tensors. */
  pooled(p: Params, config: C, last: Tensor): Tensor;
}

/** The encoder's half: the embeddings, then the output of every layer; and what the decoder reads. */
interface Encoded extends EncoderOutputs {
  /** After the final norm, [B, T, C]; rows of padding mean nothing. */
  readonly final: Tensor;
}

interface DecodeInputs {
  /** What stands where a text's embeddings would, such as learned prompts: [B, S, C]. Each sees those before it. */
  readonly embeddings: Tensor;
  /** `final` of the encoder, [B, T, C]. */
  readonly states: Tensor;
  /** Of the states, int32 [B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
}

export interface Decoded {
  /** After the final norm, [B, S, C]. */
  readonly final: Tensor;
  /** The given embeddings, then the output of every layer, [B, S, C] each. */
  readonly hidden: readonly Tensor[];
  /** Attention weights of every layer among the embeddings, [B, H, S, S]. */
  readonly attentions: readonly Tensor[];
  /** Those of every layer over the states, [B, H, S, T]. */
  readonly crossAttentions: readonly Tensor[];
}

/** A model that reads both ways and answers given embeddings from what it read; its head is not used. */
export interface EncoderDecoderDefinition<C = unknown> extends Architecture<C> {
  readonly kind: "encoder-decoder";
  /** `layers` are those of the encoder. */
  geometry(config: C): Geometry & { readonly decoderLayers: number };
  /** The token that fills up short rows. */
  padId(config: C): number;
  encode(p: Params, config: C, inputs: Pick<EncoderInputs, "ids" | "mask">): Encoded;
  decode(p: Params, config: C, inputs: DecodeInputs): Decoded;
}

/** Any architecture; `kind` tells which. */
export type Definition = ModelDefinition | EncoderDefinition | EncoderDecoderDefinition;
