/**
 * Latents to the prefix that the base reads (MAC, https://arxiv.org/abs/2403.04317: token networks and P-tuning v2):
 * every slot becomes V places with a key and a value in every layer. Letters as in shape.ts; B rows.
 *
 * We differ. One network, told the slot's number, serves all slots (the papers have one for each of 2 L places), and
 * every place has a position before the text, at which its keys are turned where the base turns keys.
 */
import type { Geometry, ModelDefinition } from "../../models/model.ts";
import type { Params } from "../../nn/params.ts";
import { constant, add, matmul, reshape, transpose } from "../../tensor/functions.ts";
import { int32Host } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { concat, slice } from "../../tensor/functions.ts";
import { multiplyDims } from "../../tensor/shape.ts";
import { innerLayer } from "./encoder.ts";
import { type BankShape, placesOf, placeWidth, ROOT } from "./shape.ts";

export interface PrefixBase {
  readonly definition: ModelDefinition;
  readonly config: unknown;
  readonly geometry: Geometry;
}

/** Latents [B, T, D] -> keys and values [B, 2 L, K, M, H] (models/condition.ts: `memoryPrefix`). */
export function prefixOf(params: Params, shape: BankShape, base: PrefixBase, latents: Tensor): Tensor {
  const { slots: T, width: D, places: V } = shape;
  const { layers: L, kvHeads: K, headDim: H } = base.geometry;
  const p = params.at(ROOT).at("prefix");
  const [B] = latents.shape;
  const M = placesOf(shape);
  const W = placeWidth(base.geometry);
  const read = innerLayer(latents, p, p.at("slots").get("weight"));
  const BT = multiplyDims(B, T);
  const parts = transpose(reshape(read, [BT, V, D / V]), [1, 0, 2]); // [V, B T, P]
  const expand = p.at("expand");
  const told = add(matmul(parts, expand.get("weight"), { transposeB: true }), expand.get("bias")); // [V, B T, W]
  const wide = transpose(reshape(told, [V, B, T, W]), [1, 2, 0, 3]); // [B, T, V, W]
  const all = transpose(reshape(wide, [B, M, 2 * L, K, H]), [0, 2, 3, 1, 4]);
  if (!base.definition.rotated) return all;
  const positions = constant(
    int32Host(
      [M],
      Int32Array.from({ length: M }, (_, m) => m - M),
    ),
  );
  const part = (at: number): Tensor => slice(all, { axis: 1, start: at, end: at + 1 });
  const turned = Array.from({ length: L }, (_, layer) => {
    const keys = reshape(part(2 * layer), [B, K, M, H]);
    const own = base.definition.rotated?.(base.config, keys, positions) ?? keys;
    return [reshape(own, [B, 1, K, M, H]), part(2 * layer + 1)];
  });
  return concat(turned.flat(), { axis: 1 });
}
