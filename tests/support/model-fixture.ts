/**
 * Tiny checkpoints with exact outputs (tests/fixtures/<name>, written by tools/reference.py in PyTorch) and the graphs
 * that this project builds for them: one for each kind of model.
 */
import { fileURLToPath } from "node:url";
import { openSafetensors, readAll } from "../../src/checkpoint/safetensors.ts";
import { type Checkpoint as Loaded, loadCheckpoint } from "../../src/models/load.ts";
import type {
  Definition,
  EncoderDecoderDefinition,
  EncoderDefinition,
  ModelDefinition,
} from "../../src/models/model.ts";
import { crossEntropy } from "../../src/nn/loss.ts";
import { type Params, paramsOf, weightInputs } from "../../src/nn/params.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { HostTensor } from "../../src/tensor/dtype.ts";
import { input, mul, reshape, rows, slice, sum } from "../../src/tensor/functions.ts";
import { gradients } from "../../src/tensor/grad.ts";
import type { Tensor } from "../../src/tensor/graph.ts";
import type { Shape } from "../../src/tensor/shape.ts";

type Weights = Readonly<Record<string, HostTensor>>;

export type Checkpoint<D extends Definition = Definition> = Pick<Loaded<D>, "definition" | "config" | "weights">;

export interface Fixture<D extends Definition = Definition> extends Checkpoint<D> {
  readonly reference: ReadonlyMap<string, HostTensor>;
}

export const repositoryFile = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export async function readTensors(path: string): Promise<ReadonlyMap<string, HostTensor>> {
  const file = await openSafetensors(path);
  try {
    return await readAll(file);
  } finally {
    await file.close();
  }
}

/** `outputs` names the folder whose reference holds: a checkpoint in another layout has the same. */
export async function readFixture(name: string, outputs = name): Promise<Fixture> {
  const folder = repositoryFile("tests/fixtures/");
  return {
    ...(await loadCheckpoint(folder + name)),
    reference: await readTensors(`${folder}${outputs}/reference.safetensors`),
  };
}

export function decoderOf<F extends Checkpoint>(fixture: F): F & Checkpoint<ModelDefinition> {
  if (fixture.definition.kind !== "causal") throw new Error(`${fixture.definition.modelType} is no decoder`);
  return fixture as F & Checkpoint<ModelDefinition>;
}

export function encoderOf<F extends Checkpoint>(fixture: F): F & Checkpoint<EncoderDefinition> {
  if (fixture.definition.kind !== "encoder") throw new Error(`${fixture.definition.modelType} is no encoder`);
  return fixture as F & Checkpoint<EncoderDefinition>;
}

export function encoderDecoderOf<F extends Checkpoint>(fixture: F): F & Checkpoint<EncoderDecoderDefinition> {
  if (fixture.definition.kind !== "encoder-decoder")
    throw new Error(`${fixture.definition.modelType} is no encoder-decoder`);
  return fixture as F & Checkpoint<EncoderDecoderDefinition>;
}

interface Graph {
  readonly inputs: Record<string, Tensor>;
  readonly p: Params;
}

export function weightGraph(weights: Weights): Graph {
  const inputs = weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape])));
  return { inputs, p: paramsOf(inputs) };
}

/** Gradients towards every weight that the model needs, as outputs `grad.<name>`. */
function gradientOutputs(loss: Tensor, { inputs }: Graph, names: readonly string[]): Record<string, Tensor> {
  const found = gradients(
    loss,
    names.map((name) => inputs[name]),
  );
  return Object.fromEntries(names.map((name, i) => [`grad.${name}`, found[i]]));
}

const numbered = (name: string, tensors: readonly Tensor[]): Record<string, Tensor> =>
  Object.fromEntries(tensors.map((tensor, i) => [`${name}.${i}`, tensor]));

/**
 * The loss of tokens 1..T-1 given those before, over targets that the mask keeps: ids [B, T], mask [B, T] -> scalar.
 * Inputs: `input_ids`, `loss_mask`.
 */
export function decoderGraph({ definition, config, weights }: Checkpoint<ModelDefinition>, [B, T]: readonly number[]) {
  const graph = weightGraph(weights);
  const ids = input("input_ids", "int32", [B, T]);
  const mask = input("loss_mask", "float32", [B, T]);
  const { final, hidden, attentions } = definition.forward(graph.p, config, { ids });
  const logits = definition.logits(graph.p, config, final);
  const count = B * (T - 1);
  const loss = crossEntropy(
    rows(slice(logits, { axis: 1, end: T - 1 })),
    reshape(slice(ids, { axis: 1, start: 1 }), [count]),
    reshape(slice(mask, { axis: 1, start: 1 }), [count]),
  );
  const names = Object.keys(definition.shapes(config));
  return {
    hidden: numbered("hidden", hidden),
    attention: numbered("attention", attentions),
    gradients: gradientOutputs(loss, graph, names),
    heads: { logits, loss },
  };
}

/** Everything the reference of an encoder holds; the loss is sum(last hidden state * `cotangent`). */
export function encoderGraph(
  { definition, config, weights }: Checkpoint<EncoderDefinition>,
  [B, T]: readonly number[],
) {
  const graph = weightGraph(weights);
  const of = (name: string): Tensor => input(name, "int32", [B, T]);
  const { hidden, attentions } = definition.forward(graph.p, config, {
    ids: of("input_ids"),
    mask: of("attention_mask"),
    tokenTypes: of("token_type_ids"),
  });
  const last = hidden[hidden.length - 1];
  const loss = sum(mul(last, input("cotangent", "float32", last.shape)));
  return {
    hidden: numbered("hidden", hidden),
    attention: numbered("attention", attentions),
    gradients: gradientOutputs(loss, graph, Object.keys(definition.shapes(config))),
    heads: { pooled: definition.pooled(graph.p, config, last), loss },
  };
}

/**
 * Everything the reference of an encoder-decoder holds: ids [B, T], embeddings [B, S, C]. The loss is sum(final of the
 * decoder * `cotangent`).
 */
export function encoderDecoderGraph(
  { definition, config, weights }: Checkpoint<EncoderDecoderDefinition>,
  [B, T]: Shape,
  [, S, C]: Shape,
) {
  const { inputs, p } = weightGraph(weights);
  const [ids, mask] = ["input_ids", "attention_mask"].map((name) => input(name, "int32", [B, T]));
  const embeddings = input("embeddings", "float32", [B, S, C]);
  const encoder = definition.encode(p, config, { ids, mask });
  const decoder = definition.decode(p, config, { embeddings, states: encoder.final, mask });
  const loss = sum(mul(decoder.final, input("cotangent", "float32", [B, S, C])));
  const names = [...Object.keys(definition.shapes(config)), "embeddings"];
  return {
    finals: { "encoder.final": encoder.final, "decoder.final": decoder.final },
    encoder: { ...numbered("encoder.hidden", encoder.hidden), ...numbered("encoder.attention", encoder.attentions) },
    decoder: { ...numbered("decoder.hidden", decoder.hidden), ...numbered("decoder.attention", decoder.attentions) },
    cross: numbered("decoder.cross", decoder.crossAttentions),
    gradients: gradientOutputs(loss, { inputs: { ...inputs, embeddings }, p }, names),
    heads: { loss },
  };
}

/** All parts of such a graph under the names of the reference. */
export const allOutputs = (parts: Readonly<Record<string, Readonly<Record<string, Tensor>>>>): Record<string, Tensor> =>
  Object.assign({}, ...Object.values(parts)) as Record<string, Tensor>;

/** Run a graph over the weights and the reference's own inputs. */
export async function runFixture(
  runtime: Runtime,
  outputs: Readonly<Record<string, Tensor>>,
  { weights, reference }: Fixture,
  { frozen = false } = {},
): Promise<Record<string, HostTensor>> {
  const program = await runtime.compile(outputs, frozen ? weights : {});
  return program.run({ ...weights, ...Object.fromEntries(reference) });
}

/** Logits of the last token, for sequences of any length: [T] ids -> [V]. */
export async function nextLogits(runtime: Runtime, { definition, config, weights }: Checkpoint<ModelDefinition>) {
  const { p } = weightGraph(weights);
  const { final } = definition.forward(p, config, { ids: input("ids", "int32", ["B", "T"]) });
  const program = await runtime.compile({ logits: definition.logits(p, config, final) }, weights);
  const { vocabulary: V } = definition.geometry(config);
  return async (ids: readonly number[]): Promise<{ all: Float32Array; last: Float32Array }> => {
    const { logits } = await program.run({
      ids: { dtype: "int32", shape: [1, ids.length], data: Int32Array.from(ids) },
    });
    const all = logits.data as Float32Array;
    return { all, last: all.subarray((ids.length - 1) * V) };
  };
}

const indexOfLargest = (values: Float32Array): number =>
  values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

/** The most likely tokens in turn. */
export async function greedy(
  runtime: Runtime,
  model: Checkpoint<ModelDefinition>,
  prompt: readonly number[],
  count: number,
) {
  const logits = await nextLogits(runtime, model);
  const ids = [...prompt];
  while (ids.length < prompt.length + count) ids.push(indexOfLargest((await logits(ids)).last));
  return ids.slice(prompt.length);
}
