/** `mneme runs`: the runs in the store, the latest first; --reindex builds the store from the run folders. */
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { exists } from "../../checkpoint/files.ts";
import { formatScore } from "../../eval/format.ts";
import { reindex } from "../../runs/reindex.ts";
import type { RunStore, StoredRun } from "../../runs/store.ts";
import { type Summary, summaryOf } from "../../runs/summary.ts";
import { sweepName } from "../../runs/sweep.ts";
import { table } from "../output.ts";
import { plainRun, reportRuns, type ShownStatus, statusOf } from "../run-tables.ts";
import { type Session, shownPath } from "../session.ts";
import { addStoreFlags, type StoreFlags, withStore } from "../store-flags.ts";

interface Flags extends StoreFlags {
  readonly reindex?: boolean;
  readonly all?: boolean;
}

export function define(command: Command): void {
  command
    .option("--all", "also the trials of sweeps")
    .option("--reindex", "first read all run folders beside the database into it, as after it was lost");
  addStoreFlags(command);
}

interface RunLine {
  readonly run: StoredRun;
  readonly status: ShownStatus;
  readonly summary: Summary | undefined;
}

/** Trials lie in the folder of their sweep. Other runs may lie deeper as well. */
const isTrial = async ({ name, folder }: StoredRun): Promise<boolean> =>
  name.includes("/") && (await exists(join(dirname(folder), sweepName)));

async function lineOf(store: RunStore, run: StoredRun): Promise<RunLine> {
  const results = reportRuns(store, run).map(({ result }) => result);
  const summary = results.length === 0 ? undefined : summaryOf(run.name, results);
  return { run, status: await statusOf(run), summary };
}

/** "2026-01-31 09:05" in the time of this place. */
function shownTime(iso: string): string {
  const time = new Date(iso);
  const two = (n: number): string => String(n).padStart(2, "0");
  const date = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** Metrics that fit into a list. */
const listed = ["acc", "nar", "rkr", "forgetting"] as const;

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { output } = session;
  return withStore(
    flags,
    async (store) => {
      const read = flags.reindex ? await reindex(store, dirname(store.path)) : undefined;
      for (const { folder, reason } of read?.damaged ?? []) {
        session.progress.line(`left out ${shownPath(folder)}: ${reason}`);
      }
      const all = store.runs();
      const flagged = await Promise.all(all.map(async (run) => ({ run, trial: await isTrial(run) })));
      const trials = flagged.filter(({ trial }) => trial);
      const chosen = flags.all ? all : flagged.filter(({ trial }) => !trial).map(({ run }) => run);
      const lines = await Promise.all(chosen.map((run) => lineOf(store, run)));
      if (read) output.print(`read ${read.runs.length} ${read.runs.length === 1 ? "run" : "runs"} from folders`);
      const head = ["run", "started", "status", "task", "method", "model", "seeds", ...listed];
      const rows = lines.map(({ run, status, summary }) => [
        run.name,
        shownTime(run.started),
        status,
        run.task,
        run.method,
        run.model,
        String(run.seeds.length),
        ...listed.map((name) => formatScore(summary?.metrics[name] ?? null)),
      ]);
      if (rows.length > 0) for (const line of table([head, ...rows], { right: [6, 7, 8, 9, 10] })) output.print(line);
      else output.print("no runs yet; `mneme eval` makes them");
      if (!flags.all && trials.length > 0) {
        output.print(
          output.style(
            "dim",
            `and ${trials.length} ${trials.length === 1 ? "trial" : "trials"} of sweeps; --all shows them`,
          ),
        );
      }
      return {
        command: "runs",
        runs: lines.map(({ run, status, summary }) => ({
          ...plainRun(run),
          status,
          metrics: summary?.metrics ?? null,
          cost: summary?.cost ?? null,
        })),
        ...(read ? { damaged: read.damaged } : {}),
      };
    },
    { must: !flags.reindex },
  );
}
