/**
 * `mneme fit`: the training phase that a method needs once on a base, as a folder that the method loads. It practises on
 * generated worlds, on texts and on questions; the work folder holds its state, and the same command goes on from it.
 */
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Command } from "commander";
import { requireEmptyFolder, writeFileAtomic } from "../../checkpoint/files.ts";
import { formatCount, formatScore, formatSeconds } from "../../eval/format.ts";
import { fitReportHtml } from "../../eval/report-fit.ts";
import type { Fitted } from "../../methods/definition.ts";
import { defaultModel } from "../../models/embedded.ts";
import type { LoadedModel } from "../../models/load.ts";
import { acquireLock } from "../../checkpoint/lock.ts";
import { type FitLog, openFitLog } from "../../runs/fit-log.ts";
import { type FitData, fitDocuments } from "../fit-data.ts";
import { addFitFlags, fitOptions } from "../method-flags.ts";
import { openModel } from "../open-model.ts";
import { addEngineFlags, commandLine, type EngineFlags, numberFlag, openRuntime, type Session } from "../session.ts";
import { Interrupted } from "../signals.ts";

interface Flags extends EngineFlags, FitData {
  readonly model: string;
  readonly out: string;
  readonly work?: string;
}

export function define(command: Command): void {
  command
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option(
      "--data <path...>",
      "UTF-8 text files, folders whose .txt files are taken, documents with questions (SQuAD .json; .jsonl of id, " +
        "text and questions, each with question and answer), or `world`: generated worlds, taken as well unless other " +
        "questions are given",
      [],
    )
    .option("--exclude <list.json>", "files that are left out: a JSON list of names, or an object with `files`")
    .option(
      "--world-facts <n>",
      "facts of generated worlds, for methods that practise on single facts",
      numberFlag({ min: 0, integer: true }),
      20_000,
    )
    .option(
      "--world-documents <n>",
      "documents of generated worlds, for methods that practise on whole documents",
      numberFlag({ min: 0, integer: true }),
      20_000,
    )
    .requiredOption("--out <folder>", "new folder for the module")
    .option(
      "--work <folder>",
      "folder for the state of the training; goes on from what is there (default: work/fit-NAME)",
    );
  addEngineFlags(command);
  addFitFlags(command);
}

interface Fitting {
  readonly command: Command;
  readonly flags: Flags;
  readonly work: string;
  readonly base: LoadedModel;
  readonly session: Session;
  readonly log: FitLog;
}

/** Fits to the end and writes the module, or throws `Interrupted`. */
async function fitted({ command, flags, work, base, session, log }: Fitting): Promise<{ made: Fitted; wrote: string }> {
  const { progress, signal, argv } = session;
  const method = command.processedArgs[0] as string;
  const { fit, options } = fitOptions(command, method);
  const runtime = openRuntime(flags);
  try {
    const events = fit.run(base, options, {
      runtime,
      seed: flags.seed,
      documents: fitDocuments(fit, flags),
      checkpoint: join(work, "checkpoint"),
      signal,
    });
    let mean: number | undefined;
    for (let next = await events.next(); ; next = await events.next()) {
      if (next.done) {
        progress.clear();
        if (next.value.result.stopped === "interrupted") throw new Interrupted(commandLine(argv));
        return { made: next.value, wrote: await next.value.save(flags.out) };
      }
      const event = next.value;
      await log.add(event);
      if (event.type === "note") progress.line(event.message);
      if (event.type !== "step") continue;
      const { step, steps, loss, tokensPerSecond } = event;
      // Losses of single batches jump; a running mean shows the course
      mean = mean === undefined ? loss : 0.95 * mean + 0.05 * loss;
      const detail = `loss ${mean.toFixed(3)}, ${formatCount(Math.round(tokensPerSecond))} tokens/s`;
      progress.update({ label: `fitting ${method}`, done: step, total: steps, detail });
    }
  } finally {
    await runtime.dispose();
  }
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const method = command.processedArgs[0] as string;
  const { options } = fitOptions(command, method);
  await requireEmptyFolder(flags.out, { caller: "fit", wayOut: () => "name another" });
  const base = await openModel(flags.model, session);
  const { work = join("work", `fit-${method}-${basename(base.folder)}`) } = flags;
  await mkdir(work, { recursive: true });
  const lock = await acquireLock(join(work, "run.lock"), work);
  let log: FitLog | undefined;
  try {
    log = await openFitLog(work);
    const { made, wrote } = await fitted({ command, flags, work, base, session, log });
    const { result, measured } = made;
    const report = join(flags.out, "report.html");
    const { model } = flags;
    await writeFileAtomic(
      report,
      fitReportHtml({ method, model, result, measured, options, curves: await log.curves() }),
    );
    session.output.print(
      `${method}: ${formatCount(result.steps)} steps, ${formatCount(result.tokens)} tokens in ` +
        `${formatSeconds(result.seconds)}, loss ${result.finalLoss.toFixed(3)}`,
    );
    for (const [name, value] of Object.entries(measured)) session.output.print(`${name}: ${formatScore(value)}`);
    session.output.print(wrote);
    session.output.print(`how it went: ${report}`);
    return { command: "fit", method, model, options, folder: flags.out, report, ...result, measured };
  } finally {
    await log?.close();
    await lock.release();
  }
}
