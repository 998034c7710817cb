/** One run as `mneme show` has it: what it is, how far it is, its matrix and its numbers. */
import { formatSeconds } from "../eval/format.ts";
import { flattened } from "../eval/report-groups.ts";
import type { RunEvent } from "../runs/events.ts";
import { summaryOf } from "../runs/summary.ts";
import { printSummary } from "./print-summary.ts";
import { table } from "./output.ts";
import { costTable, plainRun, reportRuns, statusOf, withRelativeMetrics } from "./run-tables.ts";
import { type Session, shownPath } from "./session.ts";
import { type StoreFlags, withStore } from "./store-flags.ts";

/** How far a seed that has no result is, in words. */
function standing(events: readonly RunEvent[]): string {
  const topics = events.findLast((event) => event.type === "run-start")?.topics.length ?? 0;
  const learned = events.findLast((event) => event.type === "topic-learned");
  const failed = events.findLast((event) => event.type === "failed" || event.type === "run-start");
  const place = learned ? `${learned.topic + 1} of ${topics} topics learned` : "nothing learned yet";
  return failed?.type === "failed" ? `${place}; failed: ${failed.message}` : place;
}

export async function showRun(name: string, flags: StoreFlags, session: Session): Promise<Record<string, unknown>> {
  const { print, style, width } = session.output;
  return withStore(
    flags,
    async (store) => {
      const found = store.run(name);
      const status = await statusOf(found);
      const reports = reportRuns(store, found);
      const results = store.results(found.id);
      const summary =
        reports.length === 0
          ? undefined
          : withRelativeMetrics(
              store,
              found,
              summaryOf(
                found.name,
                reports.map(({ result }) => result),
              ),
            );
      if (summary) printSummary(session, summary);
      else print(`${style("bold", found.name)}  ${found.method} on ${found.task}, ${found.model}`);
      for (const line of reports.length === 0 ? [] : costTable(reports, width)) print(line);
      const open = found.seeds
        .filter((seed) => !results.some((one) => one.seed === seed))
        .map((seed) => ({ seed, standing: standing(store.events(found.id, seed)) }));
      for (const one of open) print(`seed ${one.seed}: ${one.standing}`);
      print();
      const total = reports.reduce((sum, { result }) => sum + result.durations.total, 0);
      const facts = [
        ["status", status],
        ["started", found.started],
        ...(found.finished === null ? [] : [["finished", found.finished]]),
        ...(total > 0 ? [["worked", formatSeconds(total)]] : []),
        ["folder", shownPath(found.folder)],
        ...flattened(found.config).map(([key, value]) => [
          key,
          Array.isArray(value) ? value.join(", ") : String(value),
        ]),
        ["machine", Object.values(found.machine).join(", ")],
        [
          "versions",
          Object.entries(found.versions)
            .map((pair) => pair.join(" "))
            .join(", "),
        ],
      ];
      for (const line of table([["", ""], ...facts]).slice(1)) print(style("dim", line));
      return { ...plainRun(found), status, unfinished: open, summary: summary ?? null, results };
    },
    { must: true },
  );
}
