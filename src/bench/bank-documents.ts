/** What a document costs to encode, and what a question costs to answer. */
import { createReader } from "../methods/bank/reader.ts";
import { loadModule } from "../methods/bank/module.ts";
import type { Document } from "../methods/method.ts";
import { questionOf } from "../eval/tasks/world/render.ts";
import { answerRoom, askedOf, testVoice } from "../eval/tasks/world/stream.ts";
import { loadModel, type LoadedModel } from "../models/load.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { randomStream } from "../tensor/random.ts";
import { fittedModes, ofBankModule, openMethod, someDocuments } from "./bank-module.ts";
import { settle, timings } from "./measure.ts";
import { spread } from "./stats.ts";

/** Tokens of a document that is timed. */
const LENGTH = 128;

/** Texts of the world one after another, cut anew into documents of `length` tokens. */
function evenDocuments({ tokenizer }: LoadedModel, count: number, length: number): Document[] {
  const told = someDocuments(2 * count).map(({ document }) => document.text);
  const ids = tokenizer.encode(told.join(" "), { addSpecialTokens: false });
  return Array.from({ length: count }, (_, i) => {
    const own = Array.from({ length }, (_, k) => ids[(i * length + k) % ids.length]);
    // What is cut may be read as more tokens than it was
    while (tokenizer.encode(tokenizer.decode(own).trim(), { addSpecialTokens: false }).length > length) own.pop();
    return { id: `document-${i}`, text: tokenizer.decode(own) };
  });
}

/** `value`: milliseconds of a document, encoded, quantised and given its key together with others; `slotsMs`: its slots. */
export const encodeMs = ofBankModule(async (folder, { quick, model, signal }) => {
  const base = await loadModel(model);
  const module = await loadModule(base, folder);
  const runtime = createRuntime();
  const { method, face } = await openMethod(base, { module: folder, kind: "mbc-residual", runtime });
  const reader = createReader({ runtime, base, module });
  const length = Math.min(LENGTH, module.config.shape.context);
  const documents = evenDocuments(base, quick ? 8 : 128, length);
  const texts = documents.map(({ text }) => module.encoder.documentIds(text));
  const rounds = quick ? 1 : 7;
  const each = (times: readonly number[]): number[] => times.map((ms) => ms / documents.length);
  try {
    // The first ones compile
    const encoded = await face.encode(documents);
    await reader.slots(texts);
    const tokens = encoded.reduce((sum, one) => sum + one.tokens, 0) / documents.length;
    await settle();
    signal?.throwIfAborted();
    const whole = spread(each(await timings(rounds, () => face.encode(documents, { signal }))));
    await settle();
    const slots = spread(each(await timings(rounds, () => reader.slots(texts, { signal }))));
    return { value: whole.median, documents: documents.length, tokens, encodeMs: whole, slotsMs: slots };
  } finally {
    await reader.dispose();
    await method.dispose();
    await runtime.dispose();
  }
});

/** Milliseconds of a question among others by mode, reading included; `value`: of residual codes; `bareMs`: of the base. */
export const askMs = ofBankModule(async (folder, { quick, model, log, signal }) => {
  const base = await loadModel(model);
  const runtime = createRuntime();
  const documents = someDocuments(quick ? 8 : 256);
  const asked = documents.slice(0, quick ? 4 : 64);
  const voice = testVoice(randomStream(0, "bench", "bank", "questions"));
  const queries = asked.map(({ told: [fact] }) => askedOf(questionOf(fact, voice)).query);
  const rounds = quick ? 1 : 5;
  const asking = { maxTokens: answerRoom, signal };
  const each = (times: readonly number[]) => spread(times.map((ms) => ms / queries.length));
  const found: Record<string, ReturnType<typeof each>> = {};
  try {
    for (const kind of fittedModes) {
      const { method, face } = await openMethod(base, { module: folder, kind, runtime });
      try {
        for await (const event of method.observe(documents.map(({ document }) => document)))
          if (event.type === "note") log(`askMs: ${event.message}`);
        await method.answer(queries, asking);
        await settle();
        found[kind] = each(await timings(rounds, () => method.answer(queries, asking)));
        if (found.bare) continue;
        await face.without.answer(queries, asking);
        await settle();
        found.bare = each(await timings(rounds, () => face.without.answer(queries, asking)));
      } finally {
        await method.dispose();
      }
    }
    const { bare: bareMs, ...byMode } = found;
    return {
      value: byMode["mbc-residual"].median,
      documents: documents.length,
      questions: queries.length,
      askMs: byMode,
      bareMs,
    };
  } finally {
    await runtime.dispose();
  }
});
