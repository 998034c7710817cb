/** Writes a pretrained model as a folder that other tools load, measures what was written, and says it all in a card. */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { exists, sha256File, writeFileAtomic } from "../checkpoint/files.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { copyTokenizer } from "../checkpoint/tokenizer.ts";
import { formatBytes, formatCount, formatSeconds } from "../eval/format.ts";
import type { Pretrained, Recipe } from "../methods/pretrain.ts";
import { loadModel } from "../models/load.ts";
import { createScorer } from "../models/score.ts";
import { machineInfo, versionInfo } from "../runs/machine.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { sizeOf } from "../tensor/dtype.ts";
import { type FileScore, fileScore } from "./score-text.ts";
import type { Session } from "./session.ts";

/** A validation text. */
export interface CardFile {
  readonly name: string;
  readonly bytes: number;
  readonly text: string;
}

export interface ExportOptions {
  readonly model: Pretrained;
  readonly recipe: Recipe;
  readonly out: string;
  readonly licence: string;
  /** The command line that makes the model. */
  readonly command: string;
  readonly data: readonly { readonly name: string; readonly bytes: number }[];
  readonly validation: readonly CardFile[];
  readonly runtime: Runtime;
  readonly session: Session;
}

export interface ModelCard {
  readonly parameters: number;
  /** Of model.safetensors. */
  readonly bytes: number;
  readonly sha256: string;
  readonly validation: {
    readonly files: readonly (FileScore & { readonly file: string })[];
    readonly total: FileScore;
  } | null;
}

/** Scores of the float16 weights as they were written. */
async function validate(
  folder: string,
  { validation, runtime, session }: ExportOptions,
): Promise<ModelCard["validation"]> {
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

const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i === 0 ? "---" : "---:")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

function cardText(
  { model, recipe, licence, command, data }: ExportOptions,
  { parameters, bytes, sha256, validation }: ModelCard,
): string {
  const { result, corpus } = model;
  const { cpu, cores, memoryGB } = machineInfo();
  const versions = Object.entries(versionInfo())
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
  const facts = [
    [
      "architecture",
      `${String(model.config.model_type)}, ${formatCount(parameters)} parameters, float16 weights, ${formatBytes(bytes)}`,
    ],
    ["vocabulary", `${formatCount(Number(model.config.vocab_size))} tokens, byte-level BPE trained on the same texts`],
    [
      "corpus",
      `${corpus.files.length} files, ${formatCount(corpus.bytes)} bytes, ${formatCount(corpus.tokens)} tokens`,
    ],
    ["tokens seen", formatCount(result.tokens)],
    ["steps", formatCount(result.steps)],
    ["time", formatSeconds(result.seconds)],
    ["machine", `${cpu}, ${cores} cores, ${memoryGB} GB`],
    ["versions", versions],
    ["loss of the last step", `${result.finalLoss.toFixed(4)} nats per token`],
    ...(validation ? [["bits per byte, validation", validation.total.bitsPerByte.toFixed(4)]] : []),
    ["SHA-256 of model.safetensors", `\`${sha256}\``],
  ];
  const measured = validation && [
    "## Validation\n\nFiles that nothing was trained on, each scored whole in overlapping windows of the model's context.\n",
    tableOf(
      ["file", "bits per byte", "nats per token", "tokens", "bytes"],
      [...validation.files, { file: "**all**", ...validation.total }].map((score) => [
        score.file,
        score.bitsPerByte.toFixed(4),
        score.natsPerToken.toFixed(4),
        formatCount(score.tokens),
        formatCount(score.bytes),
      ]),
    ),
    "",
  ];
  return [
    `---\nlicense: ${licence}\nlanguage: en\npipeline_tag: text-generation\n---\n`,
    `# ${recipe.name}\n`,
    "A small language model for trying out continual learning, trained from nothing by this command:\n",
    `\`\`\`sh\n${command}\n\`\`\`\n`,
    tableOf(["", ""], facts).replace("---: |", "--- |"),
    "",
    ...(measured ?? []),
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
export async function exportModel(options: ExportOptions): Promise<ModelCard> {
  const { model, recipe } = options;
  const out = resolve(options.out);
  await mkdir(dirname(out), { recursive: true });
  const folder = join(dirname(out), `.${basename(out)}.${process.pid}.tmp`);
  await mkdir(folder);
  const json = (name: string, value: unknown): Promise<void> =>
    writeFileAtomic(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  try {
    const { eos_token_id, bos_token_id, ...config } = model.config;
    await json("config.json", { ...config, bos_token_id, eos_token_id, torch_dtype: "float16" });
    await json("generation_config.json", { bos_token_id, eos_token_id });
    await copyTokenizer(model.tokenizerFolder, folder);
    const path = join(folder, "model.safetensors");
    const metadata = { format: "pt", name: recipe.name, tokens: String(model.result.tokens) };
    await writeSafetensors(path, model.weights, { dtype: "float16", metadata });
    const card: ModelCard = {
      parameters: Object.values(model.weights).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      bytes: (await stat(path)).size,
      sha256: await sha256File(path),
      validation: await validate(folder, options),
    };
    await writeFileAtomic(join(folder, "README.md"), cardText(options, card));
    await replaceFolder(folder, out);
    return card;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
