/**
 * A stream that measures everything there is: two named scores (one of them missing for a topic), a probe of either
 * direction, and texts for the diagnostics; and a fake method that can be looked into.
 */
import type { NamedScores, Task } from "../../src/eval/task.ts";
import { textTask } from "../../src/eval/tasks/text.ts";
import type { Method } from "../../src/methods/method.ts";
import type { HostTensor } from "../../src/tensor/dtype.ts";
import { fakeMethod, sampleTexts, type FakeOptions } from "./fake-method.ts";

export function richTask(): Task {
  const text = textTask(sampleTexts());
  return {
    ...text,
    direction: "higher",
    unit: "share",
    metric: "share",
    async evaluate(method, topic): Promise<NamedScores> {
      const { bitsPerByte } = await text.evaluate(method, topic);
      const share = 1 - bitsPerByte / 16;
      return topic === 1 ? { share } : { share, other: bitsPerByte };
    },
    probes: [
      {
        name: "old",
        direction: "higher",
        unit: "share",
        ofBase: true,
        evaluate: async (method) => (await method.score("", "q")).nats / 10,
      },
      {
        name: "books",
        direction: "lower",
        unit: "nats",
        evaluate: async (method) => (await method.score("", "e")).nats,
      },
    ],
    diagnosticTexts: ["abcdef", "xyz"],
  };
}

function tensor(shape: number[], value: (i: number) => number): HostTensor<"float32"> {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i));
  return { dtype: "float32", shape, data };
}

/** Two hidden states [1, T, 2], the upper one moving with what is learned, and one head of even causal attention. */
export function transparentMethod(options: FakeOptions = {}): Method & { readonly asked: string[] } {
  const method = fakeMethod(options);
  const asked: string[] = [];
  return {
    ...method,
    asked,
    async inspect(texts, wanted) {
      asked.push(JSON.stringify(wanted));
      const { nats } = await method.score("", "e");
      return texts.map(({ length: T }) => {
        const state = (layer: number) => tensor([1, T, 2], (i) => 1 + i + layer * nats * (i % 3));
        const weight = (row: number, column: number) => (column <= row ? 1 / (row + 1) : 0);
        return {
          hidden: new Map([0, 1].map((layer) => [layer, state(layer)])),
          attentions: new Map([[0, tensor([1, 1, T, T], (i) => weight(Math.floor(i / T), i % T))]]),
        };
      });
    },
  };
}
