/**
 * batchSpeedup: the time of answering the questions of a stream one at a time over that of answering them together, in
 * alternation. `value` is of weights that are part of the graph, as methods ask that train nothing; `training` of
 * weights that are read at every run, as methods ask that train. The answers must be the same both ways.
 */
import { languageFace } from "../methods/language.ts";
import { promptOf } from "../methods/prompt.ts";
import { loadModel, type LoadedModel } from "../models/load.ts";
import { createRuntime, type Runtime } from "../runtime/runtime.ts";
import { createLabTask, type LabTask, labTask } from "./lab-task.ts";
import { type Measure, type MeasureOptions, settle, timed } from "./measure.ts";
import { spread } from "./stats.ts";

interface Work {
  readonly model: LoadedModel;
  readonly task: LabTask;
  readonly runtime: Runtime;
  readonly frozen: boolean;
  readonly options: MeasureOptions;
}

async function speedup({ model, task, runtime, frozen, options: { quick, log, signal } }: Work) {
  const face = languageFace({ runtime, model, tokenizer: model.tokenizer, eosIds: model.eosIds, frozen });
  const prompts = task.questions.map(({ query }) => promptOf(query));
  const asking = { maxTokens: task.maxTokens, signal };
  try {
    await face.answer(prompts.slice(0, 2), asking); // compiles
    const times = { oneByOne: [] as number[], together: [] as number[] };
    let different = 0;
    const rounds = quick ? 1 : 5;
    for (let round = 0; round < rounds; round++) {
      signal?.throwIfAborted();
      await settle();
      const single: string[] = [];
      times.oneByOne.push(
        await timed(async () => {
          for (const prompt of prompts) single.push(...(await face.answer([prompt], asking)));
        }),
      );
      await settle();
      let together: readonly string[] = [];
      times.together.push(await timed(async () => void (together = await face.answer(prompts, asking))));
      different = single.filter((answer, i) => answer !== together[i]).length;
      log(`batchSpeedup: round ${round + 1} of ${rounds}, weights ${frozen ? "in the graph" : "read at every run"}`);
    }
    const [oneByOneMs, togetherMs] = [spread(times.oneByOne), spread(times.together)];
    return { value: oneByOneMs.median / togetherMs.median, oneByOneMs, togetherMs, different };
  } finally {
    await face.dispose();
  }
}

export const batchSpeedup: Measure = async (options) => {
  const [model, task] = [await loadModel(options.model), await createLabTask()];
  const runtime = createRuntime();
  try {
    const work = { model, task, runtime, options };
    const frozen = await speedup({ ...work, frozen: true });
    const training = await speedup({ ...work, frozen: false });
    return { ...frozen, training, questions: task.questions.length, threads: runtime.threads, task: labTask };
  } finally {
    await runtime.dispose();
  }
};
