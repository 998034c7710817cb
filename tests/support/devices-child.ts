/**
 * Run by tests/webgpu.test.ts in a process of its own, whose environment names a software Vulkan driver: a tiny GPT and
 * a tiny Llama, loss and all gradients, on two devices. Prints one line of JSON: the largest distance per output.
 */
import { attention, causalBias, mergeHeads, splitHeads } from "../../src/nn/attention.ts";
import { crossEntropy } from "../../src/nn/loss.ts";
import { createRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../../src/tensor/dtype.ts";
import {
  add,
  cast,
  cos,
  gather,
  geluTanh,
  input,
  iota,
  layerNorm,
  linear,
  matmul,
  mul,
  reshape,
  rmsNorm,
  rotary,
  rows,
  silu,
  sin,
  slice,
  transpose,
} from "../../src/tensor/functions.ts";
import { gradients } from "../../src/tensor/grad.ts";
import type { Tensor } from "../../src/tensor/graph.ts";
import { randomStream } from "../../src/tensor/random.ts";

const [batch, length, width, heads, vocabulary] = [2, 12, 32, 4, 50];

const shapes: Record<string, readonly number[]> = {
  wte: [vocabulary, width],
  wpe: [length, width],
  "ln1.weight": [width],
  "ln1.bias": [width],
  "rms.weight": [width],
  "qkv.weight": [3 * width, width],
  "kv.weight": [width, width],
  "out.weight": [width, width],
  "out.bias": [width],
  "up.weight": [4 * width, width],
  "gate.weight": [4 * width, width],
  "down.weight": [4 * width, width],
};

const weights = Object.fromEntries(Object.keys(shapes).map((name) => [name, input(name, "float32", shapes[name])]));
const ids = input("ids", "int32", [batch, length]);
const targets = input("targets", "int32", [batch * length]);
const mask = input("mask", "float32", [batch * length]);

function blocks(): { loss: Tensor; logits: Tensor } {
  const w = weights;
  const bias = causalBias(iota(length), iota(length));
  let x = add(gather(w.wte, ids), w.wpe);
  // GPT-2's way: LayerNorm, full heads, GELU
  const normal = layerNorm(x, w["ln1.weight"], w["ln1.bias"]);
  const [query, key, value] = [0, 1, 2].map((i) => {
    return splitHeads(
      linear(normal, slice(w["qkv.weight"], { axis: 0, start: i * width, end: (i + 1) * width })),
      heads,
    );
  });
  const first = attention(query, [{ key, value }], { bias }).output;
  x = add(x, linear(mergeHeads(first), w["out.weight"], w["out.bias"]));
  x = add(x, linear(geluTanh(linear(x, w["up.weight"])), w["down.weight"], undefined, { inputFirst: true }));
  // Llama's way: RMSNorm, grouped heads with rotary positions, a gated unit
  const h = rmsNorm(x, w["rms.weight"]);
  const angles = mul(
    reshape(cast(iota(length), "float32"), [length, 1]),
    mul(cast(iota(width / heads / 2), "float32"), 0.3),
  );
  const turn = (t: Tensor): Tensor => rotary(t, cos(angles), sin(angles));
  const kv = splitHeads(linear(h, w["kv.weight"]), heads);
  const half = gather(kv, iota(heads / 2), { axis: 1 });
  const second = attention(turn(kv), [{ key: turn(half), value: half }], { bias }).output;
  x = add(x, mergeHeads(second));
  const gated = mul(silu(linear(x, w["gate.weight"])), linear(x, w["up.weight"]));
  x = add(x, linear(gated, transpose(w["down.weight"])));
  const logits = matmul(rows(x), w.wte, { transposeB: true });
  return { loss: crossEntropy(logits, targets, mask), logits };
}

const { loss, logits } = blocks();
const names = Object.keys(shapes);
const outputs: Record<string, Tensor> = { loss, logits };
for (const [i, gradient] of gradients(
  loss,
  names.map((name) => weights[name]),
).entries())
  outputs[`d ${names[i]}`] = gradient;

const random = randomStream(7, "devices");
const whole = (count: number): number[] => Array.from({ length: count }, () => random.integer(vocabulary));
const feeds: Record<string, HostTensor> = {
  ids: int32Host([batch, length], whole(batch * length)),
  targets: int32Host([batch * length], whole(batch * length)),
  mask: float32Host(
    [batch * length],
    Array.from({ length: batch * length }, (_, i) => (i % 5 === 4 ? 0 : 1)),
  ),
};
for (const [name, shape] of Object.entries(shapes)) {
  const gain = name === "ln1.weight" || name === "rms.weight" ? 1 : 0;
  feeds[name] = float32Host(shape, random.fillNormal(new Float32Array(shape.reduce((a, b) => a * b)), gain, 0.2));
}

async function run(runtime: Runtime): Promise<Record<string, HostTensor>> {
  const program = await runtime.compile(outputs);
  return program.run(feeds);
}

const [cpu, gpu] = [
  await run(createRuntime({ threads: 1 })),
  await run(createRuntime({ device: "webgpu", threads: 1 })),
];
const report = Object.keys(outputs).map((name) => {
  const [a, b] = [cpu[name].data as Float32Array, gpu[name].data as Float32Array];
  const distance = a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
  return { name, distance, size: a.reduce((most, value) => Math.max(most, Math.abs(value)), 0) };
});
console.log(JSON.stringify(report));
