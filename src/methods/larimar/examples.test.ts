/** What a fit practises: answers stand where the batch says, and a batch is a pure function of its number. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { smallTexts, textModel } from "../../../tests/support/text-model.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import type { Document } from "../method.ts";
import { episodeBatches, type ExampleKind } from "./examples.ts";

const { root } = workbench("larimar-examples");
const { tokenizer } = await textModel(join(root, "base"), { architecture: "qwen2" });

const documents: Document[] = [
  { id: "text", text: smallTexts.harbour },
  ...["Ada", "Bo"].map((name) => ({
    id: name,
    text: `${name} counts gulls.`,
    facts: [
      {
        prompt: { text: `What does ${name} count?` },
        target: "seven gulls",
        rephrased: [{ text: `${name} counts what?` }],
      },
    ],
  })),
];

const batchesOf = (kind: ExampleKind, unmarked = 0) =>
  episodeBatches({
    tokenizer,
    documents,
    shares: { facts: 0, strings: 0, passages: 0, [kind]: 1 },
    longest: 4,
    unmarked,
    context: 60,
    batchSize: 4,
    episode: 2,
    memory: { slots: 8, ridge: 1e-4, noise: 0 },
    memoryShare: 0,
    plainShare: 0,
    blocks: 3,
    seed: 7,
  });

it.each(["facts", "strings", "passages"] as const)("%s", (kind) => {
  const batch = batchesOf(kind).batchAt(3);
  expect(batchesOf(kind).batchAt(3)).toEqual(batch);
  expect(batchesOf(kind).batchAt(4).ids).not.toEqual(batch.ids);
  const [T, U, A] = batch.lengths;
  for (let b = 0; b < 4; b++) {
    const count = batch.weights.subarray(b * A, (b + 1) * A).reduce((sum, weight) => sum + weight, 0);
    const answer = [...batch.targets.subarray(b * A, b * A + count)];
    // What is asked for is what stands encoded behind its mark
    const marked = [...Array(T).keys()].filter((t) => batch.offsets[b * T + t] > 0);
    expect(marked.map((t) => batch.encoderIds[b * T + t])).toEqual(answer);
    expect(marked.map((t) => batch.offsets[b * T + t])).toEqual(answer.map((_, i) => i + 1));
    // The decoder reads each token behind the one after which it is scored, and is told its block there
    const places = [...batch.places.subarray(b * A, b * A + count)];
    for (let i = 1; i < count; i++) expect(batch.ids[b * U + places[i]]).toBe(answer[i - 1]);
    expect(places.map((t) => batch.kinds[b * U + t])).toEqual(places.map((_, i) => (i < 3 ? i + 1 : 0)));
    if (kind !== "passages") expect(tokenizer.decode(answer).endsWith("\n")).toBe(true);
    if (kind === "facts") expect(tokenizer.decode(answer)).toBe(" seven gulls\n");
  }
});

it("marks no answer where a sentence is encoded as it is", () => {
  const batch = batchesOf("facts", 1).batchAt(0);
  expect(batch.offsets.every((offset) => offset === 0)).toBe(true);
});

it("says what is missing", () => {
  const empty = { facts: 0, strings: 0, passages: 1 };
  expect(() =>
    episodeBatches({
      tokenizer,
      documents: documents.slice(1),
      shares: empty,
      longest: 4,
      unmarked: 0,
      context: 60,
      batchSize: 4,
      episode: 2,
      memory: { slots: 8, ridge: 1e-4, noise: 0 },
      memoryShare: 0,
      plainShare: 0,
      blocks: 3,
      seed: 7,
    }),
  ).toThrow(/fit: expected documents without facts/);
});
