/**
 * Named parameters of a model as a tree of paths. The paths are the checkpoint's tensor names, so a layer reads
 * `p.at("self_attn").at("q_proj").get("weight")` and no table translates between files and code.
 */
import { UserError } from "../errors.ts";
import { input } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Shape } from "../tensor/shape.ts";

/** How low-rank adapters beside linear layers take effect (2106.09685). */
export interface LowRank {
  /** alpha / rank. */
  readonly scale: number;
  /** Share of adapter inputs that are zeroed while training; 0 for none. */
  readonly dropout: number;
}

export interface Params {
  readonly path: string;
  readonly lowRank: LowRank;
  get(name: string): Tensor;
  /** The tensor if the model has it: biases, adapters. */
  maybe(name: string): Tensor | undefined;
  /** The subtree below a name. */
  at(name: string): Params;
}

/** View a flat record of tensors as a tree. */
export function paramsOf(
  tensors: Readonly<Record<string, Tensor>>,
  lowRank: LowRank = { scale: 1, dropout: 0 },
  path = "",
): Params {
  const full = (name: string): string => (path === "" ? name : `${path}.${name}`);
  return {
    path,
    lowRank,
    get(name) {
      const tensor = tensors[full(name)];
      if (!tensor) {
        const near = Object.keys(tensors)
          .filter((key) => key.startsWith(path))
          .slice(0, 8);
        throw new UserError(
          `params: expected a tensor ${full(name)}, got none; there are ${near.join(", ") || "none below this path"}`,
        );
      }
      return tensor;
    },
    maybe: (name) => tensors[full(name)],
    at: (name) => paramsOf(tensors, lowRank, full(name)),
  };
}

/** One float32 graph input per named shape: weights that are fed at each run, or frozen when compiled. */
export function weightInputs(shapes: Readonly<Record<string, Shape>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(name, "float32", shape)]));
}
