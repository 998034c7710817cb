/** What a method holds after each step of a stream, and what each step was worth, as charts of a report. */
import type { Figures } from "../methods/method.ts";
import { figureCharts, type FigureStep } from "./report-figures.ts";
import type { Group } from "./report-groups.ts";
import type { ReportRun } from "./result.ts";

/** A memory says itself what it holds; of other methods it is their bytes, where these grow. */
function figuresAt({ result }: ReportRun, i: number, grows: boolean): Figures {
  const { bytes, memory } = result.held?.[i] ?? {};
  const step = result.rewards?.[i];
  return {
    ...(memory ?? (grows && bytes !== undefined ? { "MB held": { "by the method": bytes / 1e6 } } : {})),
    ...(step && {
      "worth of a step": { reward: step.reward, "new accuracy": step.accuracy, forgetting: step.forgetting },
    }),
  };
}

/** Empty for a stream of one step. */
export function memoryCurves({ runs, matrix: { R } }: Group): string {
  if (R.length < 2) return "";
  const all = runs.map((run): FigureStep[] => {
    const bytes = (run.result.held ?? []).map((step) => step.bytes);
    const grows = bytes.some((one) => one !== bytes[0]);
    return R.map((_, x) => ({ x, figures: figuresAt(run, x, grows) }));
  });
  return figureCharts(all, {
    xTicks: R.map((_, x) => ({ x, label: String(x + 1) })),
    caption: "after each step of the stream",
    markers: true,
  });
}
