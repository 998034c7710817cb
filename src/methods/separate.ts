/**
 * A full copy of the model per topic, each fine-tuned on its own topic only: nothing can be forgotten, at the price of
 * a model per topic (the "separate" or single-task upper bound of continual learning, as "independent" in GEM,
 * https://arxiv.org/abs/1706.08840, section 5).
 * The task identity is given: a query's topic picks the copy, and a topic never learned is asked of the base. Without
 * a topic the copy answers to which the prompt is least surprising (in nats); of a text without a prompt, its
 * beginning.
 */
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { defineMethod } from "./definition.ts";
import { finetune } from "./finetune.ts";
import { hashOf, receiptId } from "./identity.ts";
import type { Document, Method, MethodEvent, MethodState, ObserveOptions, Query, Receipt } from "./method.ts";
import { none } from "./none.ts";
import { promptOf } from "./prompt.ts";
import { saveModel } from "./save-model.ts";

const stateSchema = z.object({
  copies: z.array(z.object({ topic: z.string(), json: z.record(z.string(), z.unknown()) })),
});

/** Characters by which a text without a prompt chooses its copy. */
const BEGINNING = 256;

/** Copies by topic; documents without one share the topic "". */
type Copies = Map<string, Method>;

/** Documents by topic, in order of appearance. */
function byTopic(documents: readonly Document[]): Map<string, Document[]> {
  const groups = new Map<string, Document[]>();
  for (const document of documents) {
    const topic = document.topic ?? "";
    groups.set(topic, [...(groups.get(topic) ?? []), document]);
  }
  return groups;
}

/** Tensors of copy i in a state are named by its number. */
const prefixOf = (index: number): string => `${index}:`;

const copyTensors = ({ tensors }: Pick<MethodState, "tensors">, index: number): Record<string, HostTensor> => {
  const prefix = prefixOf(index);
  return Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  );
};

/** One receipt for the writes into several copies. */
function joined(documents: readonly Document[], receipts: readonly Receipt[]): Receipt {
  const sum = (of: (receipt: Receipt) => number): number => receipts.reduce((total, receipt) => total + of(receipt), 0);
  return {
    id: receiptId("separate", hashOf(receipts.map(({ id }) => id))),
    documents: documents.map(({ id }) => id),
    steps: sum(({ steps }) => steps),
    tokens: sum(({ tokens }) => tokens),
    seconds: sum(({ seconds }) => seconds),
    finalLoss: receipts.at(-1)?.finalLoss ?? 0,
    stopped: receipts.at(-1)?.stopped ?? "done",
    flops: sum(({ flops }) => flops ?? 0),
  };
}

/** A folder name that tells the topic and is safe everywhere. */
const folderName = (topic: string, index: number): string =>
  [String(index + 1), topic.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40)].filter((part) => part !== "").join("-");

export const separate = defineMethod({
  name: "separate",
  summary: "train a full copy of the model for every topic",
  paper: "https://arxiv.org/abs/1706.08840",
  options: finetune.options,
  async create(base, options, deps) {
    const copies: Copies = new Map();
    const untouched = await none.create(base, {}, deps);
    const newCopy = (): Promise<Method> => finetune.create(base, options, deps);

    async function* observe(
      documents: readonly Document[],
      { checkpoint, signal }: ObserveOptions = {},
    ): AsyncGenerator<MethodEvent> {
      const receipts: Receipt[] = [];
      for (const [topic, members] of byTopic(documents)) {
        const copy = copies.get(topic) ?? (await newCopy());
        copies.set(topic, copy);
        const folder = checkpoint === undefined ? undefined : join(checkpoint, String(receipts.length + 1));
        for await (const event of copy.observe(members, { checkpoint: folder, signal })) {
          if (event.type === "receipt") receipts.push(event.receipt);
          else yield event;
        }
        if (receipts.at(-1)?.stopped === "interrupted") break;
      }
      yield { type: "receipt", receipt: joined(documents, receipts) };
    }

    /** The copy that is least surprised by a text; the base before any is there. */
    const copyFor = async (text: string): Promise<Method> => {
      let best = { copy: copies.values().next().value ?? untouched, nats: Number.POSITIVE_INFINITY };
      if (copies.size < 2 || text === "") return best.copy;
      for (const copy of copies.values()) {
        const { nats } = await copy.score("", text);
        if (nats < best.nats) best = { copy, nats };
      }
      return best.copy;
    };
    const copyOf = async (query: Query): Promise<Method> =>
      query.topic === undefined ? copyFor(promptOf(query)) : (copies.get(query.topic) ?? untouched);

    /** Ask each copy for its share; results in the order asked. */
    const share = async <T, R>(
      items: readonly T[],
      queryOf: (item: T) => Query,
      ask: (copy: Method, part: readonly T[]) => Promise<R[]>,
    ): Promise<R[]> => {
      const members = new Map<Method, number[]>();
      for (const [i, item] of items.entries()) {
        const copy = await copyOf(queryOf(item));
        members.set(copy, [...(members.get(copy) ?? []), i]);
      }
      const results: R[] = [];
      for (const [copy, indices] of members) {
        const found = await ask(
          copy,
          indices.map((i) => items[i]),
        );
        for (const [k, i] of indices.entries()) results[i] = found[k];
      }
      return results;
    };

    return {
      name: "separate",
      canForget: false,
      needsFit: false,
      observe,
      async score(prompt, continuation) {
        const copy = await copyFor(prompt === "" ? continuation.slice(0, BEGINNING) : prompt);
        return copy.score(prompt, continuation);
      },
      async *generate(prompt, sampling) {
        yield* (await copyFor(prompt)).generate(prompt, sampling);
      },
      async answer(queries, { onProgress, ...rest } = {}) {
        let done = 0;
        return share(
          queries,
          (query) => query,
          async (copy, part) => {
            const found = await copy.answer(part, {
              ...rest,
              onProgress: (count) => onProgress?.(done + count, queries.length),
            });
            done += part.length;
            return found;
          },
        );
      },
      rate: (pairs, { signal } = {}) =>
        share(
          pairs,
          ({ query }) => query,
          (copy, part) => copy.rate(part, { signal }),
        ),
      bytes: () => [...copies.values()].reduce((sum, copy) => sum + copy.bytes(), 0),
      async state(): Promise<MethodState> {
        const tensors: Record<string, HostTensor> = {};
        const saved: z.output<typeof stateSchema>["copies"] = [];
        for (const [topic, copy] of copies) {
          const state = await copy.state();
          for (const [name, tensor] of Object.entries(state.tensors)) tensors[prefixOf(saved.length) + name] = tensor;
          saved.push({ topic, json: { ...state.json } });
        }
        return { tensors, json: { copies: saved } };
      },
      async restore({ tensors, json }) {
        const parsed = stateSchema.safeParse(json);
        if (!parsed.success)
          throw new UserError("separate: expected a state with its copies, got another method's; use its own method");
        for (const copy of copies.values()) await copy.dispose();
        copies.clear();
        for (const [i, { topic, json: own }] of parsed.data.copies.entries()) {
          const copy = await newCopy();
          copies.set(topic, copy);
          await copy.restore({ tensors: copyTensors({ tensors }, i), json: own });
        }
      },
      async dispose() {
        for (const copy of copies.values()) await copy.dispose();
        await untouched.dispose();
      },
    };
  },
  async save(method, base, folder) {
    const state = await method.state();
    const { copies } = stateSchema.parse(state.json);
    if (copies.length === 0)
      throw new UserError("separate: expected a method that has learned, got no copy to save; observe documents first");
    for (const [i, { topic }] of copies.entries())
      await saveModel(base, copyTensors(state, i), join(folder, folderName(topic, i)));
    return `${copies.length === 1 ? "1 model" : `${copies.length} models, one per topic,`} in Hugging Face layout: ${folder}`;
  },
});
