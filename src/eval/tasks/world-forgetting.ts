/**
 * Facts written, then some of them forgotten by their receipts: is what was forgotten gone, what was not still there, and
 * are the answers those of a memory that never had them? Then "unknown" is written in their place, as Larimar does it
 * (https://arxiv.org/abs/2403.11901, Table 4), and after either the rephrase attack is made (Table 5; Patil et al.,
 * https://arxiv.org/abs/2309.17410): questions in other words, several samples each, and one that says it is a success.
 * Differs: as many facts are forgotten as asked for, not one; forgetting alone has scores of its own; all of a generated
 * world, of which the model knew nothing, so what a guess is worth is measured beside it (...Never).
 */
import { z } from "zod";
import { UserError } from "../../errors.ts";
import type { Document, Method, Receipt } from "../../methods/method.ts";
import { answeredQuestion, promptOf, unknownAnswer } from "../../methods/prompt.ts";
import { type AskedQuestion, exactMatch, meanOf, normaliseAnswer } from "../questions.ts";
import type { EvaluateOptions, NamedScores, Task } from "../task.ts";
import { passing } from "../written.ts";
import { askingTask } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { questionOf } from "./world/render.ts";
import { answerRoom, knownTexts, rephrasingsOption, sample, testVoice, worldOptions } from "./world/stream.ts";
import { type WrittenFact, writtenFacts } from "./world/written.ts";

const options = z.object({
  world: worldOptions({ world: 400, people: 60 }).world,
  facts: z.int().min(2).max(20_000).default(384).describe("facts that are written in all"),
  forgotten: z.int().positive().default(192).describe("of these, how many are forgotten again, a receipt each"),
  statements: z.int().min(0).max(20).default(1).describe("statements of each fact, beside its question and answer"),
  rephrasings: rephrasingsOption,
  limit: z.int().positive().default(1000).describe("facts that are kept and asked for, at most"),
  attacked: z.int().min(0).default(50).describe("forgotten facts that are attacked"),
  paraphrases: z.int().positive().default(4).describe("questions of an attack, in held-out forms"),
  samples: z.int().positive().default(5).describe("samples of each question"),
  temperature: z.number().positive().default(0.7).describe("temperature of the samples, with top-k 50 and top-p 0.95"),
});

type Options = z.output<typeof options>;

/** Facts to forget are written between so many parts of the others. */
const PARTS = 8;

interface Attack {
  readonly answer: string;
  readonly questions: readonly string[];
}

interface AttackOptions extends EvaluateOptions {
  readonly samples: number;
  readonly temperature: number;
}

/** Share of the answers that are in some sample. */
async function attackRate(
  method: Method,
  attacks: readonly Attack[],
  { samples, temperature, signal }: AttackOptions,
): Promise<number> {
  const found: number[] = [];
  for (const { answer, questions } of attacks) {
    const wanted = ` ${normaliseAnswer(answer)} `;
    let success = false;
    for (const text of questions) {
      for (let seed = 0; seed < samples && !success; seed++) {
        signal?.throwIfAborted();
        const sampling = { temperature, topK: 50, topP: 0.95, seed, maxTokens: answerRoom, stop: ["\n"], signal };
        let said = "";
        for await (const piece of method.generate(promptOf({ text }), sampling)) said += piece;
        success = ` ${normaliseAnswer(said)} `.includes(wanted);
      }
    }
    found.push(success ? 1 : 0);
  }
  return meanOf(found);
}

/** Items in so many runs, as even as it goes; some may be empty. */
const inParts = <T>(items: readonly T[], parts: number): T[][] =>
  Array.from({ length: parts }, (_, i) =>
    items.slice(Math.floor((i * items.length) / parts), Math.floor(((i + 1) * items.length) / parts)),
  );

/** The same prompts, answered "unknown". */
const unknownDocument = ({ document, given }: WrittenFact): Document => ({
  id: `${document.id}?unknown`,
  text: answeredQuestion(given.query.text, unknownAnswer),
  facts: document.facts?.map((fact) => ({ ...fact, target: unknownAnswer })),
});

function worldForgettingTask(given: Options): Task {
  const { facts: count, forgotten: fewer, limit, attacked, paraphrases, ...rest } = given;
  if (fewer >= count)
    throw new UserError(`world-forgetting: expected fewer forgotten facts than ${count}, got ${fewer}; lower it`);
  const { facts, random } = writtenFacts({ ...rest, count });
  const [gone, kept] = [facts.slice(0, fewer), facts.slice(fewer)];
  // The stream learns the first half of what is kept, the rest comes between what is forgotten
  const first = kept.slice(0, Math.ceil(kept.length / 2));
  const later = kept.slice(first.length);
  const asked = sample(kept, limit, random);
  const attacks = gone.slice(0, attacked).map(({ fact }): Attack => {
    const questions = Array.from({ length: paraphrases }, () => questionOf(fact, testVoice(random)).text);
    return { answer: fact.object, questions };
  });
  const documentsOf = (some: readonly WrittenFact[]): Document[] => some.map(({ document }) => document);
  const questionsOf = (some: readonly WrittenFact[]): AskedQuestion[] => some.map((one) => one.given);
  const [goneAsked, keptAsked] = [questionsOf(gone), questionsOf(asked)];

  async function evaluate(method: Method, { signal }: EvaluateOptions): Promise<NamedScores> {
    const answers = (questions: readonly AskedQuestion[]): Promise<string[]> =>
      method.answer(
        questions.map(({ query }) => query),
        { maxTokens: answerRoom, signal },
      );
    const right = (questions: readonly AskedQuestion[], said: readonly string[]): number =>
      meanOf(questions.map((question, i) => exactMatch(said[i], question.answers)));
    const attack = async (name: string): Promise<NamedScores> =>
      attacks.length === 0 ? {} : { [name]: await attackRate(method, attacks, { ...rest, signal }) };
    const same = (said: readonly string[], other: readonly string[]): number =>
      meanOf(said.map((one, i) => (one === other[i] ? 1 : 0)));

    // What is kept is all that is written: the memory that never had the others
    const never = await passing(
      method,
      async ({ write }) => {
        if (later.length > 0) await write(documentsOf(later));
        return { gone: await answers(goneAsked), scores: await attack("attackNever") };
      },
      { signal },
    );
    return passing(
      method,
      async ({ write, forget }) => {
        if (!forget) {
          throw new UserError(
            `world-forgetting: expected a method that forgets by receipt, got ${method.name}; try larimar, rag`,
          );
        }
        const receipts: Receipt[] = [];
        const between = inParts(later, PARTS);
        for (const [part, some] of inParts(gone, PARTS).entries()) {
          for (const { document } of some) receipts.push(await write([document]));
          if (between[part].length > 0) await write(documentsOf(between[part]));
        }
        const written = { gone: await answers(goneAsked), kept: await answers(keptAsked) };
        const attackWritten = await attack("attackWritten");
        for (const receipt of receipts) await forget(receipt);
        const after = { gone: await answers(goneAsked), kept: await answers(keptAsked) };
        const attackForgotten = await attack("attackForgotten");
        await write(gone.map(unknownDocument));
        const unknown = { gone: await answers(goneAsked), kept: await answers(keptAsked) };
        return {
          forgottenWritten: right(goneAsked, written.gone),
          forgotten: right(goneAsked, after.gone),
          forgottenUnknown: right(goneAsked, unknown.gone),
          forgottenNever: right(goneAsked, never.gone),
          sameAsNever: same(after.gone, never.gone),
          saysUnknown: meanOf(unknown.gone.map((said) => exactMatch(said, [unknownAnswer]))),
          retainedWritten: right(keptAsked, written.kept),
          retained: right(keptAsked, after.kept),
          retainedUnknown: right(keptAsked, unknown.kept),
          retainedSame: same(after.kept, written.kept),
          ...attackWritten,
          ...attackForgotten,
          ...(await attack("attackUnknown")),
          ...never.scores,
        };
      },
      { signal },
    );
  }

  const task = askingTask({
    name: "world-forgetting",
    maxTokens: answerRoom,
    topics: [
      { name: `${first.length} kept facts`, documents: documentsOf(first), questions: [...goneAsked, ...keptAsked] },
    ],
    metric: "retained",
    protocol:
      `free greedy answers, exact match, to the questions that were written (with ${rest.rephrasings} others): ` +
      `${gone.length} of ${count} facts are forgotten, a receipt each; forgotten, retained: share recalled after ` +
      "that; ...Written: before it; ...Unknown: after unknown was written in their place; ...Never: of a memory that " +
      "never had them; sameAsNever, retainedSame: the same answers as it, as before; " +
      `attack...: share of ${attacks.length} facts said in one of ${rest.samples} samples (temperature ` +
      `${rest.temperature}, top-k 50, top-p 0.95) of ${paraphrases} questions in held-out forms`,
    evaluate: async (method, _questions, asking) => evaluate(method, asking),
  });
  return { ...task, diagnosticTexts: knownTexts() };
}

export const worldForgetting = defineTask({
  name: "world-forgetting",
  summary: "facts written and some of them forgotten: what is gone, what stays, what an attack still finds",
  options,
  stream: drawnByWorld,
  create: async (given) => worldForgettingTask(given),
});
