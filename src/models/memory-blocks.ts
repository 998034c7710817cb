/**
 * Memory layers in the blocks of a decoder, by the `memory` of its config.json: in place of the feed-forward layer or
 * beside it. All architectures ask here for what a block has and what its feed-forward sub-layer gives, so none knows
 * of memories. Parameters: `<block>.memory.*`, and one table `<root>.memory.values` for all of them.
 */
import { z } from "zod";
import { sublayer } from "../nn/linear.ts";
import { memoryLayer, memoryLayerShapes, memoryLinears } from "../nn/memory-layer.ts";
import type { Params } from "../nn/params.ts";
import { add, mul } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { ForwardOutputs } from "./model.ts";

const count = z.number().int().positive();

/** What config.json says of a memory; absent where a model has none. */
export const memoryField = z
  .strictObject({
    /** Counted from 0; they share one table. */
    layers: z.array(z.number().int().nonnegative()).min(1),
    slots: count.max(2 ** 31 - 1).refine((N) => Number.isInteger(Math.sqrt(N)), {
      error: ({ input }) => `${String(input)} slots are no square number; a slot is a pair of half keys`,
    }),
    heads: count.default(4),
    /** Slots that a head reads. */
    knn: count.default(32),
    /** Of both halves. */
    keyWidth: count.refine((D) => D % 2 === 0, { error: "it must be even: each half key has half of it" }).default(512),
    valueWidth: count,
    /** In place of the feed-forward layer, or added to it with a learned factor. */
    form: z.enum(["replace", "add"]).default("replace"),
    gate: z.boolean().default(false),
    normalise: z.boolean().default(false),
    temperature: z.number().positive().default(20),
  })
  .refine(({ knn, slots }) => knn <= Math.sqrt(slots), {
    path: ["knn"],
    error: "it must be at most the square root of slots",
  })
  .refine(({ layers }) => new Set(layers).size === layers.length, { path: ["layers"], error: "each may stand once" })
  .nullish();

export type MemoryConfig = z.output<typeof memoryField>;

/** Are the layers that a memory names among the model's? */
export const memoryFits = (memory: MemoryConfig, layers: number): boolean =>
  memory?.layers.every((layer) => layer < layers) ?? true;
export const memoryProblem = { path: ["memory", "layers"], error: "they must be layers of the model, counted from 0" };

interface Layout {
  /** Matrices are stored [in, out]. */
  readonly inputFirst?: boolean;
}

/** What the feed-forward part of a block consists of; names are relative to the block. */
export interface BlockMemory {
  /** Has it a feed-forward layer? */
  readonly dense: boolean;
  /** Parameters of its memory. */
  readonly shapes: Record<string, readonly number[]>;
  /** Where adapters sit behind the sub-layer. */
  readonly path: string;
  /** Its linear layers, given those of the feed-forward layer. */
  linears(dense: readonly string[]): string[];
}

export function blockMemory(memory: MemoryConfig, layer: number, width: number, layout: Layout = {}): BlockMemory {
  if (!memory?.layers.includes(layer)) return { dense: true, shapes: {}, path: "mlp", linears: (own) => [...own] };
  const dense = memory.form === "add";
  const parts = { ...memoryLayerShapes(memory, width, layout), ...(dense ? { scale: [1] } : {}) };
  return {
    dense,
    shapes: Object.fromEntries(Object.entries(parts).map(([name, shape]) => [`memory.${name}`, shape])),
    path: dense ? "mlp" : "memory",
    linears: (own) => [...(dense ? own : []), ...memoryLinears.map((name) => `memory.${name}`)],
  };
}

/** The tables that the blocks share, by name. */
export const poolShapes = (memory: MemoryConfig, root: string): Record<string, readonly number[]> =>
  memory ? { [`${root}.memory.values`]: [memory.slots, memory.valueWidth] } : {};

export const memoryTables = (memory: MemoryConfig, root: string): string[] => Object.keys(poolShapes(memory, root));

interface MemoryBlocks {
  /** The feed-forward sub-layer of a block that reads x [..., C], ready for the residual sum. */
  feedForward(layer: number, x: Tensor, block: Params, dense: (mlp: Params) => Tensor): Tensor;
  /** What was read so far. */
  readonly reads: ForwardOutputs["reads"];
}

/** For one forward pass; `root` is where the table lies. */
export function memoryBlocks(memory: MemoryConfig, root: Params, layout: Layout = {}): MemoryBlocks {
  const reads: ForwardOutputs["reads"][number][] = [];
  return {
    reads,
    feedForward(layer, x, block, dense) {
      const mlp = block.at("mlp");
      if (!memory?.layers.includes(layer)) return sublayer(x, dense(mlp), mlp);
      const p = block.at("memory");
      const found = memoryLayer(x, p, root.at("memory").get("values"), memory, layout);
      reads.push({ layer, ...found.reads });
      if (memory.form === "replace") return sublayer(x, found.y, p);
      return sublayer(x, add(dense(mlp), mul(found.y, p.get("scale"))), mlp);
    },
  };
}
