/**
 * curves.jsonl in the work folder of a fit: its steps and what it measured of itself, a line each, as they happen. A fit
 * that goes on appends to it; reading knows which steps were repeated.
 */
import { join } from "node:path";
import { type FitCurves, fitCurves } from "../eval/report-fit.ts";
import type { MethodEvent } from "../methods/method.ts";
import { openEventLog, readEvents } from "./event-log.ts";

export interface FitLog {
  /** Appends what is part of a curve. */
  add(event: MethodEvent): Promise<void>;
  /** All curves, those of earlier sittings too. */
  curves(): Promise<FitCurves>;
  close(): Promise<void>;
}

const drawn: readonly MethodEvent["type"][] = ["step", "figures", "validation"];

export async function openFitLog(work: string): Promise<FitLog> {
  const path = join(work, "curves.jsonl");
  const log = await openEventLog<MethodEvent>(path);
  return {
    async add(event) {
      if (drawn.includes(event.type)) await log.append(event);
    },
    curves: async () => fitCurves(await readEvents<MethodEvent>(path)),
    close: log.close,
  };
}
