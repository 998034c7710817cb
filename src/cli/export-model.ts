/**
 * Writes a pretrained model as a folder that other tools load, measures what was written, and says it all in a
 * card.
 */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { exists, sha256File, writeFileAtomic } from "../checkpoint/files.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { copyTokenizer } from "../checkpoint/tokenizer.ts";
import { formatBytes, formatCount, formatSeconds } from "../eval/format.ts";
import type { Pretrained } from "../methods/pretrain.ts";
import { type ObjectiveName, objectiveOf, startOf } from "../methods/pretrain-recipe.ts";
import { machineInfo, versionInfo } from "../runs/machine.ts";
import { sizeOf } from "../tensor/dtype.ts";
import { type CardKind, type Measured, type MeasureOptions, tableOf } from "./card.ts";
import { encoderCard } from "./card-encoder.ts";
import { languageCard } from "./card-language.ts";

/** By what the model learned from. */
const cards: Readonly<Record<ObjectiveName, CardKind>> = { language: languageCard, contrastive: encoderCard };

export interface ExportOptions extends MeasureOptions {
  readonly model: Pretrained;
  readonly out: string;
  readonly licence: string;
  /** The command line that makes the model. */
  readonly command: string;
  readonly data: readonly { readonly name: string; readonly bytes: number }[];
}

export interface ModelCard {
  readonly parameters: number;
  /** Of model.safetensors. */
  readonly bytes: number;
  readonly sha256: string;
}

function cardText(
  { model, recipe, licence, command, data }: ExportOptions,
  { parameters, bytes, sha256 }: ModelCard,
  { pipeline, summary, lossUnit }: CardKind,
  measured: Measured,
): string {
  const { result, corpus } = model;
  const { cpu, cores, memoryGB } = machineInfo();
  const versions = Object.entries(versionInfo())
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
  const tokens = corpus.tokens > 0 ? `, ${formatCount(corpus.tokens)} tokens` : "";
  const facts = [
    [
      "architecture",
      `${String(model.config.model_type)}, ${formatCount(parameters)} parameters, float16 weights, ` +
        `${formatBytes(bytes)}`,
    ],
    ["vocabulary", `${formatCount(Number(model.config.vocab_size))} tokens, byte-level BPE trained on the same texts`],
    ["corpus", `${corpus.files.length} files, ${formatCount(corpus.bytes)} bytes${tokens}`],
    ["tokens seen", formatCount(result.tokens)],
    ["steps", formatCount(result.steps)],
    ["time", formatSeconds(result.seconds)],
    ["machine", `${cpu}, ${cores} cores, ${memoryGB} GB`],
    ["versions", versions],
    ["loss of the last step", `${result.finalLoss.toFixed(4)} ${lossUnit}`],
    ...measured.facts,
    ["SHA-256 of model.safetensors", `\`${sha256}\``],
  ];
  return [
    `---\nlicense: ${licence}\nlanguage: en\npipeline_tag: ${pipeline}\n---\n`,
    `# ${recipe.name}\n`,
    `${summary}, trained from ${startOf(recipe) ?? "nothing"} by this command:\n`,
    `\`\`\`sh\n${command}\n\`\`\`\n`,
    tableOf(["", ""], facts).replace("---: |", "--- |"),
    "",
    ...measured.section,
    "## Data\n",
    tableOf(
      ["file", "bytes"],
      data.map(({ name, bytes: size }) => [name, formatCount(size)]),
    ),
    "",
  ].join("\n");
}

/** Moves a finished folder to its place; what is there gives way only when the new one is complete. */
async function replaceFolder(from: string, to: string): Promise<void> {
  const aside = join(dirname(to), `.${basename(to)}.${process.pid}.old`);
  const there = await exists(to);
  if (there) await rename(to, aside);
  try {
    await rename(from, to);
  } catch (error) {
    if (there) await rename(aside, to);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

/** Everything is written and measured in a folder beside `out`, which then takes its name. */
export async function exportModel(options: ExportOptions): Promise<{ card: ModelCard; measured: Measured }> {
  const { model, recipe } = options;
  const kind = cards[objectiveOf(recipe)];
  const out = resolve(options.out);
  await mkdir(dirname(out), { recursive: true });
  const folder = join(dirname(out), `.${basename(out)}.${process.pid}.tmp`);
  await mkdir(folder);
  const json = (name: string, value: unknown): Promise<void> =>
    writeFileAtomic(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  try {
    await json("config.json", { ...model.config, torch_dtype: "float16" });
    for (const [name, value] of Object.entries(kind.files(model.config))) await json(name, value);
    await copyTokenizer(model.tokenizerFolder, folder);
    const path = join(folder, "model.safetensors");
    const metadata = { format: "pt", name: recipe.name, tokens: String(model.result.tokens) };
    await writeSafetensors(path, model.weights, { dtype: "float16", metadata });
    const card: ModelCard = {
      parameters: Object.values(model.weights).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      bytes: (await stat(path)).size,
      sha256: await sha256File(path),
    };
    const measured = await kind.measure(folder, options);
    await writeFileAtomic(join(folder, "README.md"), cardText(options, card, kind, measured));
    await replaceFolder(folder, out);
    return { card, measured };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
