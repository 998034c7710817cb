/**
 * `mneme pretrain`: a model from nothing, as a folder in Hugging Face layout with float16 weights and a model card.
 * The work folder holds vocabulary, tokens and training state; the same command goes on from it, or exports again.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import type { Command } from "commander";
import { readJsonObject } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { formatCount, formatSeconds } from "../../eval/format.ts";
import { worldSources } from "../../eval/tasks/world/curriculum.ts";
import { worldPairSources } from "../../eval/tasks/world/pairs.ts";
import { readTextFile } from "../../checkpoint/text.ts";
import { parseRecipe, type Pretrained, pretrain, type Recipe, startOf } from "../../methods/pretrain.ts";
import { loadModel } from "../../models/load.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { acquireLock } from "../../checkpoint/lock.ts";
import type { CardFile } from "../card.ts";
import { dataFiles, namesIn, unique } from "../data-files.ts";
import { exportModel } from "../export-model.ts";
import { modelFolder } from "../open-model.ts";
import { shellWord } from "../output.ts";
import {
  addEngineFlags,
  numberFlag,
  commandLine,
  type EngineFlags,
  openRuntime,
  type Session,
  shownPath,
} from "../session.ts";
import { Interrupted } from "../signals.ts";

interface Flags extends Omit<EngineFlags, "seed"> {
  readonly recipe: string;
  readonly data: string[];
  readonly exclude?: string;
  readonly validate: string[];
  readonly out: string;
  readonly work?: string;
  readonly licence: string;
  readonly seed?: number;
  readonly force?: boolean;
}

export function define(command: Command): void {
  command
    .requiredOption("--recipe <file>", "JSON file with vocabulary, architecture and training")
    .requiredOption("--data <path...>", "UTF-8 text files, or folders whose .txt files are taken")
    .option("--exclude <list.json>", "files that are not trained on: a JSON list of names, or an object with `files`")
    .option("--validate <path...>", "text files to measure the model on; a .json list names files beside it", [])
    .requiredOption("--out <folder>", "new folder for the model")
    .option("--work <folder>", "folder for the state of the training; goes on from what is there (default: work/NAME)")
    .option("--licence <id>", "licence in the model card", "mit")
    .option(
      "--seed <n>",
      "a seed instead of the recipe's, with a folder of its own for the state",
      numberFlag({ min: 0, max: 0xffffffff, integer: true }),
    )
    .option("--force", "replace what is in --out");
  addEngineFlags(command, { seed: false });
}

async function validationFiles(paths: readonly string[]): Promise<string[]> {
  const lists = await Promise.all(
    paths.map(async (path) =>
      path.endsWith(".json") ? (await namesIn("pretrain", path)).map((name) => join(dirname(path), name)) : [path],
    ),
  );
  return unique(lists.flat());
}

interface Corpus {
  readonly files: readonly string[];
  readonly validation: readonly CardFile[];
}

/** What is trained on and what is measured on; a file in both is refused, as its score would mean nothing. */
async function corpusOf({ data, exclude, validate }: Flags): Promise<Corpus> {
  const all = await dataFiles("pretrain", data);
  const excluded = new Set(
    (exclude === undefined ? [] : await namesIn("pretrain", exclude)).map((name) => basename(name)),
  );
  const files = all.filter((path) => !excluded.has(basename(path)));
  if (files.length === 0)
    throw new UserError(
      `pretrain: expected files to train on, got ${all.length} of which all are excluded; name others with --data`,
    );
  const names = files.map((path) => basename(path));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UserError(`pretrain: expected files of different names, got two called ${twice}; rename one`);
  const validation = await validationFiles(validate);
  const both = validation.find((path) => names.includes(basename(path)));
  if (both !== undefined)
    throw new UserError(
      `pretrain: expected validation files that are not trained on, got ${both} in both; name it in --exclude`,
    );
  // Faults of all texts show before hours of training
  const measured = await Promise.all(validation.map(readTextFile));
  return { files, validation: measured.map(({ path, bytes, text }) => ({ name: basename(path), bytes, text })) };
}

interface Training {
  readonly runtime: Runtime;
  readonly recipe: Recipe;
  readonly files: readonly string[];
  readonly work: string;
  readonly session: Session;
}

/** Trains to the end, or throws `Interrupted` with the very command that goes on. */
async function trained({ runtime, recipe, files, work, session }: Training): Promise<Pretrained> {
  const { progress, signal, argv } = session;
  const from = startOf(recipe);
  const base = from === undefined ? undefined : await loadModel(await modelFolder(from, session));
  const events = pretrain({
    runtime,
    recipe,
    base,
    files,
    sources: { examples: worldSources(), pairs: worldPairSources() },
    folder: work,
    signal,
  });
  let mean: number | undefined;
  for (let next = await events.next(); ; next = await events.next()) {
    if (next.done) {
      if (next.value.result.stopped === "interrupted") throw new Interrupted(commandLine(argv));
      return next.value;
    }
    const event = next.value;
    if (event.type === "note") progress.line(event.message);
    if (event.type !== "step") continue;
    const { step, steps, loss, tokens, tokensPerSecond } = event;
    // Losses of single batches jump; a running mean shows the course
    mean = mean === undefined ? loss : 0.95 * mean + 0.05 * loss;
    const detail = `loss ${mean.toFixed(3)}, ${formatCount(tokens)} tokens, ${formatCount(Math.round(tokensPerSecond))}/s`;
    progress.update({ label: `training ${recipe.name}`, done: step, total: steps, detail });
  }
}

async function checkOut({ out, force }: Flags): Promise<void> {
  const found = await readdir(out).catch((): string[] => []);
  if (found.length > 0 && !force) {
    throw new UserError(
      `pretrain: expected a new or empty folder, got ${out} with ${found.slice(0, 4).join(", ")}; add --force to ` +
        "replace it, or name another",
    );
  }
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { output, progress } = session;
  const given = parseRecipe(await readJsonObject(flags.recipe));
  const { seed = given.seed } = flags;
  const recipe: Recipe = { ...given, seed };
  await checkOut(flags);
  const { files, validation } = await corpusOf(flags);
  const { work = join("work", seed === given.seed ? recipe.name : `${recipe.name}-seed-${seed}`) } = flags;
  await mkdir(work, { recursive: true });
  const lock = await acquireLock(join(work, "run.lock"), work);
  const runtime = openRuntime(flags);
  try {
    const model = await trained({ runtime, recipe, files, work, session });
    progress.clear();
    const { result } = model;
    const data = await Promise.all(
      files.map(async (path) => ({ name: basename(path), bytes: (await stat(path)).size })),
    );
    const { card, measured } = await exportModel({
      model,
      recipe,
      out: flags.out,
      licence: flags.licence,
      command: cardCommand(flags),
      data,
      validation,
      runtime,
      session,
    });
    output.print(
      `${recipe.name}: ${formatCount(result.tokens)} tokens in ${formatCount(result.steps)} steps, ` +
        `${formatSeconds(result.seconds)}, loss ${result.finalLoss.toFixed(3)}`,
    );
    for (const line of measured.lines) output.print(line);
    output.print(`model: ${output.style("cyan", shownPath(flags.out))}`);
    return {
      command: "pretrain",
      name: recipe.name,
      folder: flags.out,
      ...result,
      corpus: model.corpus,
      ...card,
      ...measured.fields,
    };
  } finally {
    await runtime.dispose();
    await lock.release();
  }
}

/** The command for the model card, with paths from here: a card shall not name this machine's folders. */
function cardCommand({ recipe, data, exclude, validate, out, work, seed }: Flags): string {
  const list = (...paths: readonly string[]): string =>
    paths.map((path) => shellWord(relative("", path) || ".")).join(" ");
  return [
    `mneme pretrain --recipe ${list(recipe)} --data ${list(...data)}`,
    ...(exclude === undefined ? [] : [`--exclude ${list(exclude)}`]),
    ...(validate.length === 0 ? [] : [`--validate ${list(...validate)}`]),
    `--out ${list(out)}${work === undefined ? "" : ` --work ${list(work)}`}${seed === undefined ? "" : ` --seed ${seed}`}`,
  ].join(" \\\n  ");
}
