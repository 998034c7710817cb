/**
 * Named parameters of a model as a tree of paths. The paths are the checkpoint's tensor names, so a layer reads
 * `p.at("self_attn").at("q_proj").get("weight")` and no table translates between files and code.
 */
import { UserError } from "../errors.ts";
import { input } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Shape } from "../tensor/shape.ts";

/**
 * What a method adds to a model's layers while its graph is built: adapters of any kind. A hook sees the parameters at
 * its place, where it looks for tensors of its own; where it has none, it gives `y` back. No architecture knows which
 * modification it carries, and no modification which architecture carries it.
 */
export interface Modification {
  /** A linear layer of the blocks: input x [..., I], own output y [..., O] -> the output that is used. */
  linear?(p: Params, x: Tensor, y: Tensor): Tensor;
  /** A sub-layer (attention, feed-forward): input x and own output y, [..., C] each -> what joins the residual sum. */
  sublayer?(p: Params, x: Tensor, y: Tensor): Tensor;
}

export interface Params {
  readonly path: string;
  readonly modification: Modification;
  get(name: string): Tensor;
  /** The tensor if the model has it: biases, adapters. */
  maybe(name: string): Tensor | undefined;
  /** The subtree below a name. */
  at(name: string): Params;
}

/** View a flat record of tensors as a tree. */
export function paramsOf(
  tensors: Readonly<Record<string, Tensor>>,
  modification: Modification = {},
  path = "",
): Params {
  const full = (name: string): string => (path === "" ? name : `${path}.${name}`);
  return {
    path,
    modification,
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
    at: (name) => paramsOf(tensors, modification, full(name)),
  };
}

/** One float32 graph input per named shape: weights that are fed at each run, or frozen when compiled. */
export function weightInputs(shapes: Readonly<Record<string, Shape>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(name, "float32", shape)]));
}
