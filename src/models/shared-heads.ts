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

interface Head {
  /** Place of a sorted prompt that begins with it. */
  readonly from: number;
  readonly length: number;
}

interface Choice {
  readonly saved: number;
  /** By place among the sorted prompts of a stretch. */
  readonly headOf: readonly (Head | undefined)[];
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
 * The heads that save most tokens. In a tree of all prompts every node is a head that may be chosen: its tokens are read
 * once, and every prompt under it that follows no longer head saves them.
 */
export function sharedHeads(prompts: readonly Ids[]): SharedHeads {
  const order = [...prompts.keys()].sort((a, b) => byTokens(prompts[a], prompts[b]));
  const common = order.slice(1).map((index, i) => commonLength(prompts[order[i]], prompts[index]));
  const made = new Map<string, Choice>();
  /** One object per node, as places are compared by it. */
  const nodes = new Map<string, Head>();
  const headOfNode = (from: number, length: number): Head => {
    const key = `${from} ${length}`;
    const head = nodes.get(key) ?? { from, length };
    nodes.set(key, head);
    return head;
  };

  /** The best of the sorted prompts `from` to `to - 1`, which may follow the head `above`, read in any case. */
  const best = (from: number, to: number, above: Head | undefined): Choice => {
    if (to - from === 1) return { saved: above?.length ?? 0, headOf: [above] };
    const key = `${from} ${to} ${above?.length}`;
    const known = made.get(key);
    if (known) return known;
    let length = common[from];
    for (let i = from; i < to - 1; i++) length = Math.min(length, common[i]);
    const parts = (head: Head | undefined): Choice => {
      const below: Choice[] = [];
      for (let start = from, i = from; i < to; i++) {
        if (i < to - 1 && common[i] > length) continue;
        below.push(best(start, i + 1, head));
        start = i + 1;
      }
      return {
        saved: below.reduce((sum, { saved }) => sum + saved, 0),
        headOf: below.flatMap(({ headOf }) => headOf),
      };
    };
    let chosen = parts(above);
    if (length > (above?.length ?? 0)) {
      const own = parts(headOfNode(from, length));
      if (own.saved - length > chosen.saved) chosen = { ...own, saved: own.saved - length };
    }
    made.set(key, chosen);
    return chosen;
  };

  if (prompts.length === 0) return { heads: [], headOf: [], saved: 0 };
  const { saved, headOf: placed } = best(0, prompts.length, undefined);
  const heads = [...new Set(placed.filter((head) => head !== undefined))];
  const headOf = prompts.map(() => -1);
  for (const [place, head] of placed.entries()) if (head) headOf[order[place]] = heads.indexOf(head);
  return { heads: heads.map(({ from, length }) => prompts[order[from]].slice(0, length)), headOf, saved };
}

/** How many tokens all prompts begin with, but for the last of the shortest. */
export function sharedLength(prompts: readonly Ids[]): number {
  return prompts.reduce((least, prompt) => Math.min(least, commonLength(prompt, prompts[0])), Number.POSITIVE_INFINITY);
}
