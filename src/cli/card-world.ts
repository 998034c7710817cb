/** What a model learned from worlds, for its card: it knows one, reads others in its window, admits what was never said. */
import { formatCount, formatPercent } from "../eval/format.ts";
import { worldBase } from "../eval/tasks/world-base.ts";
import { parseMethodOptions } from "../methods/definition.ts";
import { none } from "../methods/none.ts";
import { loadModel } from "../models/load.ts";
import { type Measured, type MeasureOptions, tableOf } from "./card.ts";

/** Characters that the texts fill: some 80, 480 and 800 tokens. */
const windows = [300, 1800, 3000];
const QUESTIONS = 200;

const columns = {
  reads: "reads",
  readsFar: "reads, farther than half of it",
  admitsReading: "admits, of those in the text",
  falseUnknownReading: 'false "unknown"',
};

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
    `${formatCount(Number(window))} characters`,
    ...Object.keys(columns).map((column) => (column in scores ? percent(scores[column]) : "")),
  ]);
  const all = Object.values(world);
  const lengths = windows.map(formatCount).join(" / ");
  const ofEach = (score: string): string => all.map((scores) => percent(scores[score])).join(" / ");
  const [{ knows, falseUnknown, admitsStranger, admitsGap }] = all;
  return {
    fields: { world },
    facts: [
      ["knows world 0, held-out forms, exact", percent(knows)],
      ['false "unknown" about it', percent(falseUnknown)],
      [`reads unseen worlds in its window, ${lengths} characters`, ofEach("reads")],
      [`admits what was never stated, ${lengths} characters`, ofEach("admits")],
    ],
    section: [
      "## Worlds\n\nFree greedy answers to questions in held-out forms, exact match " +
        `(\`mneme eval --task world-base --count ${QUESTIONS} --window N --method none\`): about world 0, which it was ` +
        "trained on, with nothing in the window; about unseen worlds whose facts fill the window, densely or far apart; " +
        "about what was never stated, of strangers and of those in the window.\n",
      `Strangers admitted: ${percent(admitsStranger)}; gaps of world 0 (trained, in other forms): ${percent(admitsGap)}.\n`,
      tableOf(["window", ...Object.values(columns)], rows),
      "",
    ],
    lines: [`knows ${percent(knows)}, reads ${ofEach("reads")}, admits ${ofEach("admits")}`],
  };
}
