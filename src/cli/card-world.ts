/** What a model learned from worlds, for its card: it knows one, reads others in its window, admits what was never said. */
import { formatCount, formatPercent } from "../eval/format.ts";
import { worldBase } from "../eval/tasks/world-base.ts";
import { parseMethodOptions } from "../methods/definition.ts";
import { none } from "../methods/none.ts";
import { loadModel } from "../models/load.ts";
import { type Measured, type MeasureOptions, tableOf } from "./card.ts";

/** Characters of text in the window: about 90, 550 and 880 tokens. */
const windows = [300, 1800, 2900];
const QUESTIONS = 200;

const columns = ["knows", "reads", "admits", "falseUnknown", "falseUnknownReading"] as const;
const heads = ["knows", "reads", "admits", 'false "unknown" (known)', 'false "unknown" (read)'];

const percent = (share: number): string => formatPercent(share, 1);

export async function measureWorld(folder: string, { runtime, session }: MeasureOptions): Promise<Measured> {
  const model = await loadModel(folder);
  const method = await none.create(model, parseMethodOptions(none, {}), { runtime, seed: 0 });
  const world: Record<string, Record<string, number>> = {};
  for (const [i, window] of windows.entries()) {
    session.signal.throwIfAborted();
    session.progress.update({ label: "asking about worlds", done: i, total: windows.length });
    const options = { count: QUESTIONS, window };
    const task = await worldBase.create(parseMethodOptions(worldBase, options), {});
    world[window] = await task.evaluate(method, 0);
  }
  session.progress.clear();
  const rows = Object.entries(world).map(([window, scores]) => [
    `${window} characters`,
    ...columns.map((column) => percent(scores[column])),
  ]);
  const all = Object.values(world);
  const near = all[0];
  const lengths = windows.map(formatCount).join(" / ");
  return {
    fields: { world },
    facts: [
      ["knows world 0, held-out forms, exact", percent(near.knows)],
      [
        `reads unseen worlds in its window, up to ${lengths} characters`,
        all.map(({ reads }) => percent(reads)).join(" / "),
      ],
      ["admits what was never stated", percent(near.admits)],
    ],
    section: [
      "## Worlds\n\nFree greedy answers to questions in held-out forms, exact match (`mneme eval --task world-base --method none`): " +
        "about world 0, which it was trained on; about unseen worlds told in its window; about what was never stated.\n",
      tableOf(["window", ...heads], rows),
      "",
    ],
    lines: [`knows ${percent(near.knows)}, reads ${percent(near.reads)}, admits ${percent(near.admits)}`],
  };
}
