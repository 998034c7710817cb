/** The card of a language model: bits per byte on the validation files, and what it learned from worlds. */
import { formatCount } from "../eval/format.ts";
import { worldSources } from "../eval/tasks/world/curriculum.ts";
import type { Recipe } from "../methods/pretrain-recipe.ts";
import { loadModel } from "../models/load.ts";
import { createScorer } from "../models/score.ts";
import { type CardKind, type Measured, type MeasureOptions, tableOf } from "./card.ts";
import { measureWorld } from "./card-world.ts";
import { type FileScore, fileScore } from "./score-text.ts";

interface Validation {
  readonly files: readonly (FileScore & { readonly file: string })[];
  readonly total: FileScore;
}

async function validate(folder: string, { validation, runtime, session }: MeasureOptions): Promise<Validation | null> {
  if (validation.length === 0) return null;
  const model = await loadModel(folder, { checkWeights: true });
  const scorer = await createScorer(runtime, model, model.tokenizer);
  const files: (FileScore & { file: string })[] = [];
  const all = validation.reduce((sum, { bytes }) => sum + bytes, 0);
  let before = 0;
  for (const { name, bytes, text } of validation) {
    const onProgress = (done: number, total: number): void => {
      session.progress.update({
        label: "measuring on the validation files",
        done: before + (bytes * done) / total,
        total: all,
      });
    };
    const score = await scorer.scoreText("", text, { onProgress, signal: session.signal });
    files.push({ file: name, ...fileScore(score) });
    before += bytes;
  }
  session.progress.clear();
  await scorer.dispose();
  return { files, total: fileScore(...files) };
}

const sectionOf = ({ files, total }: Validation): string[] => [
  "## Validation\n\nFiles that nothing was trained on, each scored whole in overlapping windows of the model's " +
    "context.\n",
  tableOf(
    ["file", "bits per byte", "nats per token", "tokens", "bytes"],
    [...files, { file: "**all**", ...total }].map((score) => [
      score.file,
      score.bitsPerByte.toFixed(4),
      score.natsPerToken.toFixed(4),
      formatCount(score.tokens),
      formatCount(score.bytes),
    ]),
  ),
  "",
];

/** Bits per byte on the files. */
async function measureTexts(folder: string, options: MeasureOptions): Promise<Measured> {
  const validation = await validate(folder, options);
  if (validation === null) return { fields: { validation }, facts: [], section: [], lines: [] };
  const bits = validation.total.bitsPerByte.toFixed(4);
  const count = validation.files.length;
  return {
    fields: { validation },
    facts: [["bits per byte, validation", bits]],
    section: sectionOf(validation),
    lines: [`${bits} bits per byte on ${count} ${count === 1 ? "file" : "files"} not trained on`],
  };
}

/** Did it see questions about worlds? */
const readsWorlds = ({ stages }: Recipe): boolean =>
  stages.some(({ mixture }) => Object.keys(worldSources()).some((name) => (mixture[name] ?? 0) > 0));

export const languageCard: CardKind = {
  pipeline: "text-generation",
  summary: "A small language model for trying out continual learning",
  lossUnit: "nats per token",
  files: ({ bos_token_id, eos_token_id }) => ({ "generation_config.json": { bos_token_id, eos_token_id } }),
  async measure(folder, options) {
    const parts = [await measureTexts(folder, options)];
    if (readsWorlds(options.recipe)) parts.push(await measureWorld(folder, options));
    return {
      fields: Object.assign({}, ...parts.map(({ fields }) => fields)),
      facts: parts.flatMap(({ facts }) => facts),
      section: parts.flatMap(({ section }) => section),
      lines: parts.flatMap(({ lines }) => lines),
    };
  },
};
