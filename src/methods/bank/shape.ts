/**
 * Sizes of a module of bank compression, and the names and shapes of its tensors.
 * Letters: T slots of a document, D width of a slot, V places that a slot becomes in every layer of the base (so M = T V
 * places in all), S numbers in what the encoder reads of a token, E width of the encoder, P = D / V; L layers of the
 * base, K key/value heads, H head size.
 */
import type { Geometry } from "../../models/model.ts";
import { fillWith, type InitRule, kaimingUniform, normal } from "../../nn/init.ts";
import { isNorm } from "../../nn/names.ts";

export interface BankShape {
  /** T. */
  readonly slots: number;
  /** D; V divides it. */
  readonly width: number;
  /** V. */
  readonly places: number;
  /** E; of a T5 as it has them, like the next two. */
  readonly encoderWidth: number;
  /** Layers that read both ways, before the slots are made. */
  readonly encoderLayers: number;
  readonly encoderHeads: number;
  /** Width of the feed-forward layers of encoder and slots. */
  readonly inner: number;
  /** Cross-attention blocks of the aggregator; 4 in the paper. */
  readonly blocks: number;
  readonly blockHeads: number;
  readonly blockInner: number;
  /** Most tokens of a document that are read at once: longer ones are read in chunks. */
  readonly context: number;
}

/** Sizes unless told otherwise; the width is the base's, and the context one token for each place. */
export const usual = {
  slots: 32,
  places: 4,
  encoderWidth: 256,
  encoderLayers: 2,
  encoderHeads: 8,
  inner: 512,
  blocks: 4,
  blockHeads: 8,
  blockInner: 256,
  codes: 512,
  depth: 6,
  rank: 16,
  alpha: 32,
} as const;

/** All tensors of the module but adapters and codebooks live below this name. */
export const ROOT = "bank";

export const placesOf = ({ slots, places }: BankShape): number => slots * places;

/** S: what is read of a token are the inputs of all layers of the base. */
export const stateWidth = ({ layers, width }: Geometry): number => layers * width;

/** 2 L K H: keys and values of one place in all layers. */
export const placeWidth = ({ layers, kvHeads, headDim }: Geometry): number => 2 * layers * kvHeads * headDim;

type Shapes = Record<string, readonly number[]>;

const attentionShapes = (width: number): Shapes => ({
  "norm.weight": [width],
  "query.weight": [width, width],
  "key.weight": [width, width],
  "value.weight": [width, width],
  "output.weight": [width, width],
});

const innerShapes = (width: number, inner: number): Shapes => ({
  "norm.weight": [width],
  "up.weight": [inner, width],
  "down.weight": [width, inner],
});

const below = (path: string, shapes: Shapes): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [`${path}.${name}`, shape]));

/** Tensors that every encoder has: of each role prompts and what makes slots of states of width E, and one network for all slots. */
export function slotShapes({ slots: T, width: D, encoderWidth: E, inner }: BankShape): Shapes {
  const shapes: Shapes = {};
  for (const role of ["document", "question"]) {
    Object.assign(shapes, {
      [`${role}.prompts.weight`]: [T, E],
      [`${role}.output.weight`]: [D, E],
      [`${role}.slots.weight`]: [T, D],
    });
  }
  return below(ROOT, { ...shapes, ...below("slots", innerShapes(D, inner)) });
}

/** Tensors of our own encoder, which reads states of the base. */
export function encoderShapes(shape: BankShape, geometry: Geometry): Shapes {
  const { width: D, places: V, encoderWidth: E, encoderLayers, inner, context } = shape;
  const S = stateWidth(geometry);
  const shapes: Shapes = {
    "patch.weight": [D / V, S],
    "patch.bias": [D / V],
    "read.weight": [E, S],
    "positions.weight": [context, E],
  };
  for (let layer = 0; layer < encoderLayers; layer++) {
    Object.assign(shapes, below(`layers.${layer}.attention`, attentionShapes(E)));
    Object.assign(shapes, below(`layers.${layer}.mlp`, innerShapes(E, inner)));
  }
  Object.assign(shapes, {
    ...below("prompted.self", attentionShapes(E)),
    ...below("prompted.cross", attentionShapes(E)),
    "prompted.cross.states_norm.weight": [E],
    ...below("prompted.mlp", innerShapes(E, inner)),
    "prompted.norm.weight": [E],
  });
  return { ...below(ROOT, shapes), ...slotShapes(shape) };
}

/** Tensors of the aggregator and of what unfolds latents to the prefix. */
export function readingShapes(shape: BankShape, geometry: Geometry): Shapes {
  const { slots: T, width: D, places: V, inner, blocks, blockInner } = shape;
  const shapes: Shapes = {};
  for (let block = 0; block < blocks; block++) {
    const path = `blocks.${block}`;
    Object.assign(shapes, below(`${path}.attention`, attentionShapes(D)), {
      [`${path}.attention.context_norm.weight`]: [D],
      [`${path}.attention.asking.weight`]: [T, D],
      [`${path}.attention.asked.weight`]: [T, D],
      ...below(`${path}.mlp`, innerShapes(D, blockInner)),
    });
  }
  Object.assign(shapes, below("prefix", innerShapes(D, inner)), {
    "prefix.slots.weight": [T, D],
    "prefix.expand.weight": [V, placeWidth(geometry), D / V],
    "prefix.expand.bias": [placeWidth(geometry)],
  });
  return below(ROOT, shapes);
}

/** Is a tensor of this name part of how documents become slots? */
export const isEncoder = (name: string): boolean =>
  /^(patch|read|positions|layers|prompted|t5|document|slots)\./.test(name.slice(ROOT.length + 1));

/** Values before the first step; start.ts then gives the straight path through the networks its own. */
export const networkRule =
  ({ encoderLayers }: BankShape): InitRule =>
  (name) => {
    const own = name.slice(ROOT.length + 1);
    if (isNorm(own)) return fillWith(1);
    if (own.endsWith(".bias")) return fillWith(0);
    if (own === "positions.weight" || own.endsWith("prompts.weight")) return normal(0.5);
    if (/\.asking\.|\.asked\.|slots\.weight$/.test(own)) return normal(0.02);
    // What adds to the straight path begins with almost nothing
    if (/\.(output|down)\.weight$/.test(own)) return normal(0.02 / Math.sqrt(2 * (encoderLayers + 1)));
    return kaimingUniform();
  };
