/**
 * What a batch reads of a model's memory, and the gradient of its loss towards the rows it reads: in one pass, since the
 * gradient comes as rows anyway and the ones to learn in are chosen from it afterwards. So no mask is needed in the graph
 * (https://arxiv.org/abs/2510.15103, listing 1), and the table may be of any length.
 */
import type { Model } from "../../models/instance.ts";
import { liveWeights, modelParams } from "../../models/instance.ts";
import { createRowSum, type RowSum } from "../../nn/row-sum.ts";
import type { Program, Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import { sparseGradients } from "../../tensor/grad.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { lossGraph } from "../objective.ts";
import type { WordingBatch } from "./lessons.ts";
import { type Counts, countReads } from "./ranking.ts";

export interface Pass {
  /** Mean over the targets that count, nats. */
  readonly loss: number;
  readonly counts: Counts;
  /** Towards all rows that were read; a view until the next pass. */
  readonly gradient: RowSum;
}

export interface Passes {
  learn(batch: WordingBatch): Promise<Pass>;
  /** What tokens read; where `present` [B, T] is 0, nothing is counted. */
  read(ids: Int32Array, present: Float32Array, rows: number): Promise<Counts>;
  dispose(): Promise<void>;
}

const slotsName = (layer: number): string => `slots:${layer}`;

/** Passes over a model with the weights as they are at each; `table` names that of its memory. */
export function createPasses(runtime: Runtime, model: Model, table: string): Passes {
  const { definition, config, weights } = model;
  const gradient = createRowSum(weights[table].shape[1]);
  const programs = new Map<string, Promise<Program>>();

  const outputsOfReads = (reads: ReturnType<typeof lossGraph>["reads"]): Record<string, Tensor> =>
    Object.fromEntries(reads.map(({ layer, slots }) => [slotsName(layer), slots]));
  const learning = (batchSize: number, contextLength: number): Record<string, Tensor> => {
    const { inputs, loss, reads } = lossGraph({ ...model, batchSize, contextLength });
    const [{ rows }] = sparseGradients(loss, [inputs[table]], new Set([inputs[table]]));
    const outputs: Record<string, Tensor> = { loss, ...outputsOfReads(reads) };
    for (const [i, { indices, values }] of rows.entries()) {
      outputs[`rows:${i}`] = indices;
      outputs[`values:${i}`] = values;
    }
    return outputs;
  };
  const reading = (B: number, T: number): Record<string, Tensor> =>
    outputsOfReads(definition.forward(modelParams(model), config, { ids: input("ids", "int32", [B, T]) }).reads);

  /** A program for each shape, made when it is first needed. */
  const programFor = (kind: "learn" | "read", B: number, T: number): Promise<Program> => {
    const key = `${kind} ${B} ${T}`;
    const made = programs.get(key) ?? runtime.compile((kind === "learn" ? learning : reading)(B, T));
    programs.set(key, made);
    return made;
  };
  const countsOf = (results: Record<string, HostTensor>, present: Float32Array): Counts => {
    const counts = new Map<number, number>();
    for (const [name, { data }] of Object.entries(results))
      if (name.startsWith("slots:")) countReads(data as Int32Array, present, counts);
    return counts;
  };

  return {
    async learn({ ids, targets, mask, present, targetCount, rows: B }) {
      const shape = [B, ids.length / B];
      const program = await programFor("learn", B, shape[1]);
      const results = await program.run({
        ...liveWeights(program, { weights }),
        ids: int32Host(shape, ids),
        targets: int32Host(shape, targets),
        share: float32Host(
          shape,
          mask.map((one) => one / targetCount),
        ),
      });
      gradient.clear();
      for (let i = 0; results[`rows:${i}`]; i++)
        gradient.add(results[`rows:${i}`].data as Int32Array, results[`values:${i}`].data as Float32Array);
      return { loss: (results.loss.data as Float32Array)[0], counts: countsOf(results, present), gradient };
    },
    async read(ids, present, B) {
      const shape = [B, ids.length / B];
      const program = await programFor("read", B, shape[1]);
      const results = await program.run({ ...liveWeights(program, { weights }), ids: int32Host(shape, ids) });
      return countsOf(results, present);
    },
    async dispose() {
      for (const program of programs.values()) await (await program).release();
      programs.clear();
    },
  };
}
