/**
 * Hidden states and attention weights of chosen layers: what diagnostics read (drift of representations, attention
 * entropy).
 */
import { UserError } from "../errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type HostTensor, int32Host } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { requireIds } from "./ids.ts";
import { type CompileOptions, frozenWeights, liveWeights, type Model, modelParams } from "./instance.ts";

export interface InspectOptions extends CompileOptions {
  /** Hidden states wanted: 0 the embeddings, l the output of the l-th layer counted from 1. Default: all. */
  hidden?: readonly number[];
  /** Layers, counted from 0, whose attention weights are wanted. Default: none. */
  attentions?: readonly number[];
}

export interface Inspection {
  /** By number as asked for: [B, T, C] each. */
  readonly hidden: ReadonlyMap<number, HostTensor<"float32">>;
  /** By layer: [B, H, T, T] each. */
  readonly attentions: ReadonlyMap<number, HostTensor<"float32">>;
}

export interface Inspector {
  /** Rows of equal length. */
  inspect(rows: readonly (readonly number[])[]): Promise<Inspection>;
  dispose(): Promise<void>;
}

export async function createInspector(
  runtime: Runtime,
  model: Model,
  { hidden, attentions = [], frozen = false }: InspectOptions = {},
): Promise<Inspector> {
  const { definition, config, geometry } = model;
  const states = hidden ?? Array.from({ length: geometry.layers + 1 }, (_, i) => i);
  requireLayers("hidden", states, geometry.layers);
  requireLayers("attentions", attentions, geometry.layers - 1);
  if (states.length + attentions.length === 0)
    throw new UserError("inspect: expected 1 or more layers, got none; name some");
  const found = definition.forward(modelParams(model), config, { ids: input("ids", "int32", ["B", "T"]) });
  const outputs: Record<string, Tensor> = {};
  for (const layer of states) outputs[`hidden.${layer}`] = found.hidden[layer];
  for (const layer of attentions) outputs[`attention.${layer}`] = found.attentions[layer];
  const program = await runtime.compile(outputs, frozen ? frozenWeights(model) : undefined);
  const live = liveWeights(program, model);
  return {
    async inspect(rows) {
      const T = rows[0]?.length ?? 0;
      if (T === 0 || T > geometry.context || rows.some(({ length }) => length !== T)) {
        throw new UserError(
          `inspect: expected rows of one length from 1 to ${geometry.context} tokens, got ` +
            `${rows.map(({ length }) => length).join(", ") || "none"}`,
        );
      }
      for (const [index, row] of rows.entries()) requireIds("inspect", row, geometry.vocabulary, ` in row ${index}`);
      const results = await program.run({ ...live, ids: int32Host([rows.length, T], rows.flat()) });
      const pick = (kind: string, layers: readonly number[]): Map<number, HostTensor<"float32">> =>
        new Map(layers.map((layer) => [layer, results[`${kind}.${layer}`] as HostTensor<"float32">]));
      return { hidden: pick("hidden", states), attentions: pick("attention", attentions) };
    },
    dispose: () => program.release(),
  };
}

function requireLayers(what: string, layers: readonly number[], last: number): void {
  const wrong = layers.find((layer) => !Number.isInteger(layer) || layer < 0 || layer > last);
  if (wrong !== undefined) throw new UserError(`inspect: expected ${what} from 0 to ${last}, got ${wrong}`);
}
