/**
 * `mneme bench engine`: measures the engine on this machine, against PyTorch where it is installed.
 * `mneme bench lab`: measures what runs of all methods cost, and the answering of many questions together.
 * `mneme bench scope`: measures how well scope detectors know which questions are about written facts.
 * `mneme bench larimar`: measures what writing, forgetting and editing cost, beside training.
 * `mneme bench bank`: measures what reading, encoding, asking and keeping cost a memory of documents.
 */
import { Argument, type Command } from "commander";
import { bankBench } from "../../bench/bank.ts";
import { engineBench } from "../../bench/engine.ts";
import { labBench } from "../../bench/lab.ts";
import { larimarBench } from "../../bench/larimar.ts";
import { scopeBench } from "../../bench/scope.ts";
import type { Suite } from "../../bench/suite.ts";
import { UserError } from "../../errors.ts";
import { modelFolder } from "../open-model.ts";
import { table } from "../output.ts";
import type { Session } from "../session.ts";

const suites = {
  engine: engineBench,
  lab: labBench,
  scope: scopeBench,
  larimar: larimarBench,
  bank: bankBench,
} satisfies Record<string, Suite>;

const dataLists = Object.entries(suites).flatMap(([name, { data }]) =>
  data.length > 0 ? [`${name}: ${data.join(", ")}`] : [],
);
const measureLists = Object.entries(suites).map(([name, { measures }]) => `${name}: ${measures.join(", ")}`);

interface Flags {
  readonly only?: readonly string[];
  readonly quick?: boolean;
  readonly model?: string;
  readonly data?: Readonly<Record<string, string>>;
}

/** "name=file" of each occurrence. */
function namedFile(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const [, name, file] = /^([\w-]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined)
    throw new UserError(`bench: expected name=file, got ${JSON.stringify(text)}; e.g. --data zsre=zsre.jsonl`);
  return { ...before, [name]: file };
}

export function define(command: Command): void {
  command
    .addArgument(new Argument("<suite>", "what to measure").choices(Object.keys(suites)))
    .option("--only <name,...>", `some of the measures (${measureLists.join("; ")})`, (text: string) =>
      text.split(",").map((name) => name.trim()),
    )
    .option("--data <name=file>", `a file of data, once for each (${dataLists.join("; ")})`, namedFile)
    .option("--quick", "fewer repeats: shows that it runs, not what is true")
    .option("--model <name>", "the model that is measured, for scope a sentence encoder (default: an embedded one)");
}

/** Objects of one measure, without the nested ones. */
const shown = (value: unknown): string => {
  if (value === null) return "not measured";
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
};

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const { only, quick, model, data } = command.opts<Flags>();
  const { output, progress, signal } = session;
  const suite = command.processedArgs[0] as keyof typeof suites;
  const { measures, run: measure } = suites[suite];
  const folder = model === undefined ? undefined : await modelFolder(model, session);
  const results = await measure({ only, quick, model: folder, data, log: (line) => progress.line(line), signal });
  const rows = measures.flatMap((name) => {
    const found = results[name] as { value?: unknown; reason?: unknown } | undefined;
    return found === undefined ? [] : [[name, shown(found.value), String(found.reason ?? "")]];
  });
  const [head, ...lines] = table([["measure", "value", ""], ...rows], { right: [1] });
  output.print(output.style("bold", head));
  for (const line of lines) output.print(line);
  return { command: "bench", suite, ...results };
}
