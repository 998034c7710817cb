/** A method that keeps stated facts, knows them by the very words of their prompts, and forgets them by receipt. */
import type { Method, StatedFact } from "../../src/methods/method.ts";
import { type TableMethod, tableMethod } from "./table-method.ts";

export interface WritingMethod extends TableMethod {
  /** Facts that are held now, and the most there ever were. */
  readonly facts_: { held: number; most: number };
}

export interface WritingOptions {
  /** What it knew before. */
  readonly known?: Readonly<Record<string, string>>;
  /** false: it has no `forget`. "badly": it forgets nothing. */
  readonly forgets?: boolean | "badly";
}

interface Write {
  readonly receipt: string;
  readonly facts: readonly StatedFact[];
}

export function writingMethod({ known = {}, forgets = true }: WritingOptions = {}): WritingMethod {
  let kept: Write[] = [];
  let writes = 0;
  const counts = { held: 0, most: 0 };
  const count = (): void => {
    counts.held = kept.reduce((sum, { facts }) => sum + facts.length, 0);
    counts.most = Math.max(counts.most, counts.held);
  };
  const said = (text: string): string => {
    const facts = kept.flatMap((write) => write.facts).reverse();
    const found = facts.find(({ prompt, rephrased = [] }) => [prompt, ...rephrased].some((one) => one.text === text));
    return found?.target ?? known[text] ?? "";
  };
  const table = new Proxy<Record<string, string>>({}, { get: (_, text) => said(String(text)) });
  const forget: Method["forget"] = async (id) => {
    if (!kept.some(({ receipt }) => receipt === id)) throw new Error(`no write ${id}`);
    if (forgets !== "badly") kept = kept.filter(({ receipt }) => receipt !== id);
    count();
  };
  return {
    ...tableMethod(table),
    facts_: counts,
    canForget: forgets !== false,
    async *observe(documents) {
      const receipt = `write ${++writes}`;
      kept = [...kept, { receipt, facts: documents.flatMap(({ facts = [] }) => facts) }];
      count();
      const cost = { steps: 0, tokens: 0, seconds: 0, finalLoss: 0, stopped: "done" } as const;
      yield { type: "receipt", receipt: { id: receipt, documents: documents.map(({ id }) => id), ...cost } };
    },
    ...(forgets !== false && { forget }),
    async *generate(prompt) {
      yield said(/^Question: (.*)\nAnswer:$/.exec(prompt)?.[1] ?? prompt);
    },
    state: async () => ({ tensors: {}, json: { kept } }),
    async restore({ json }) {
      kept = json.kept as Write[];
      count();
    },
  };
}
