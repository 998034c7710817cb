/**
 * What several prompts begin with, to be read once for all of them. Every prompt follows at most one such head, and
 * heads follow nothing, so that reading takes two rounds: heads, then the rest of the prompts.
 */

type Ids = readonly number[];

export interface SharedHeads {
  /** Each is the beginning of two prompts or more. */
  readonly heads: readonly Ids[];
  /** By prompt: the number of its head, -1 for none. */
  readonly headOf: readonly number[];
  /** Tokens that need not be read. */
  readonly saved: number;
}

interface Choice {
  readonly saved: number;
  /** Stretches of the sorted prompts with the length of their head. */
  readonly parts: readonly { readonly from: number; readonly to: number; readonly length: number }[];
}

/** How many tokens both begin with, but for the last of either: that is read with its own prompt. */
function commonLength(a: Ids, b: Ids): number {
  const most = Math.min(a.length, b.length) - 1;
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

function byTokens(a: Ids, b: Ids): number {
  const at = commonLength(a, b);
  return a[at] - b[at] || a.length - b.length;
}

/**
 * The heads that save most tokens: in a tree of all prompts, a node of depth d under which k prompts stand saves
 * (k - 1) d, and no chosen node stands under another.
 */
export function sharedHeads(prompts: readonly Ids[]): SharedHeads {
  const order = [...prompts.keys()].sort((a, b) => byTokens(prompts[a], prompts[b]));
  const common = order.slice(1).map((index, i) => commonLength(prompts[order[i]], prompts[index]));

  /** The best of the sorted prompts `from` to `to - 1`: one head for all, or those of the parts they fall into. */
  const best = (from: number, to: number): Choice => {
    if (to - from < 2) return { saved: 0, parts: [] };
    let length = common[from];
    for (let i = from; i < to - 1; i++) length = Math.min(length, common[i]);
    const own = { saved: (to - from - 1) * length, parts: [{ from, to, length }] };
    let saved = 0;
    const parts: Choice["parts"][number][] = [];
    for (let start = from, i = from; i < to; i++) {
      if (i < to - 1 && common[i] > length) continue;
      const below = best(start, i + 1);
      saved += below.saved;
      parts.push(...below.parts);
      start = i + 1;
    }
    return own.saved > 0 && own.saved >= saved ? own : { saved, parts };
  };

  const { saved, parts } = best(0, prompts.length);
  const headOf = prompts.map(() => -1);
  for (const [head, { from, to }] of parts.entries()) for (let i = from; i < to; i++) headOf[order[i]] = head;
  return { heads: parts.map(({ from, length }) => prompts[order[from]].slice(0, length)), headOf, saved };
}

/** How many tokens all prompts begin with, but for the last of the shortest. */
export function sharedLength(prompts: readonly Ids[]): number {
  return prompts.reduce((least, prompt) => Math.min(least, commonLength(prompt, prompts[0])), Number.POSITIVE_INFINITY);
}
