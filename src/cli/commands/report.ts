/** `mneme report`: finished runs as one self-contained HTML page, and their tables as CSV. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { writeFileAtomic } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { csvText } from "../../eval/csv.ts";
import { equalLearningTable } from "../../eval/equal-learning.ts";
import { reportHtml } from "../../eval/report.ts";
import { signsTable } from "../../eval/signs.ts";
import { methodsTable, runsTable, scoresTable } from "../../eval/tables.ts";
import { checkComparable, resultsOf, runsNamed } from "../run-tables.ts";
import { type Session, shownPath } from "../session.ts";
import { addStoreFlags, type StoreFlags, withStore } from "../store-flags.ts";

interface Flags extends StoreFlags {
  readonly out?: string;
  readonly csv?: string;
  readonly title?: string;
}

export function define(command: Command): void {
  command
    .argument("<run...>", "names or folders of finished runs of one task, or of sweeps: their finished trials")
    .option("--out <file>", "HTML file to write")
    .option(
      "--csv <folder>",
      "also write the tables as methods.csv, runs.csv, scores.csv, equal-learning.csv and signs.csv",
    )
    .option("--title <text>", "heading of the page");
  addStoreFlags(command);
}

export async function run(command: Command, { output }: Session): Promise<Record<string, unknown>> {
  const [names] = command.processedArgs as [string[]];
  const { out, csv, title, ...flags } = command.opts<Flags>();
  if (out === undefined) throw new UserError("report: expected --out, got none; name the HTML file to write");
  return withStore(
    flags,
    async (store) => {
      const found = await runsNamed(store, names);
      const { runs, notes } = resultsOf(store, found, "report");
      checkComparable(
        runs.map(({ result }) => result),
        "report",
      );
      await writeFileAtomic(out, reportHtml(runs, { title, notes }));
      const written = [out];
      if (csv !== undefined) {
        await mkdir(csv, { recursive: true });
        const tables = {
          methods: methodsTable(runs),
          runs: runsTable(runs),
          scores: scoresTable(runs),
          "equal-learning": equalLearningTable(runs),
          signs: signsTable(runs),
        };
        for (const [name, table] of Object.entries(tables)) {
          const path = join(csv, `${name}.csv`);
          await writeFileAtomic(path, csvText(table));
          written.push(path);
        }
      }
      for (const note of notes) output.print(note);
      for (const path of written) output.print(`wrote ${output.style("cyan", shownPath(path))}`);
      return { command: "report", runs: found.map(({ name }) => name), notes, wrote: written };
    },
    { must: true },
  );
}
