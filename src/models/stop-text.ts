/**
 * Stop strings in streamed text. Text is withheld while it could be the beginning of a stop string, also across the
 * borders of tokens, so that nothing of a stop string is ever shown.
 */

export interface StopFilter {
  /** The text that is now certain to come before any stop string. After `stopped`, give no more. */
  push(text: string): { text: string; stopped: boolean };
  /** What was withheld: no stop string came. */
  end(): string;
}

export function createStopFilter(stops: readonly string[]): StopFilter {
  const wanted = stops.filter((stop) => stop !== "");
  let held = "";
  return {
    push(text) {
      held += text;
      const hits = wanted.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
      const stopped = hits.length > 0;
      const end = stopped ? Math.min(...hits) : held.length - longestBeginning(held, wanted);
      const free = held.slice(0, end);
      held = stopped ? "" : held.slice(end);
      return { text: free, stopped };
    },
    end() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** Length of the longest end of `text` that begins a stop string without completing it. */
function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let size = Math.min(stop.length - 1, text.length); size > longest; size--) {
      if (text.endsWith(stop.slice(0, size))) longest = size;
    }
  }
  return longest;
}
