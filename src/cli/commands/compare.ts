/** `mneme compare`: runs of one task side by side. Runs of different tasks or protocols are refused. */
import type { Command } from "commander";
import { equalLearningTable } from "../../eval/equal-learning.ts";
import { methodsTable } from "../../eval/tables.ts";
import { checkComparable, comparisonTables, recordsOf, resultsOf, runsNamed } from "../run-tables.ts";
import { wrap } from "../output.ts";
import type { Session } from "../session.ts";
import { addStoreFlags, type StoreFlags, withStore } from "../store-flags.ts";

export function define(command: Command): void {
  command.argument("<run...>", "names or folders of finished runs, or of sweeps: their finished trials");
  addStoreFlags(command);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [names] = command.processedArgs as [string[]];
  const { print, style, width } = session.output;
  return withStore(
    command.opts<StoreFlags>(),
    async (store) => {
      const found = await runsNamed(store, names);
      const { runs, notes } = resultsOf(store, found, "compare");
      const results = runs.map(({ result }) => result);
      checkComparable(results, "compare");
      const [{ task, model, protocol, matrix }] = results;
      print(`${style("bold", task)}, ${[...new Set(results.map((result) => result.model))].join(", ")}`);
      for (const line of wrap(`${protocol}; R in ${matrix.unit}; mean ± 95% interval over seeds`, width)) {
        print(style("dim", line));
      }
      for (const line of notes.flatMap((note) => wrap(note, width))) print(style("yellow", line));
      for (const line of comparisonTables(runs, width)) print(line);
      return {
        command: "compare",
        task,
        protocol,
        model,
        runs: found.map(({ name }) => name),
        notes,
        methods: recordsOf(methodsTable(runs)),
        equalLearning: recordsOf(equalLearningTable(runs)),
      };
    },
    { must: true },
  );
}
