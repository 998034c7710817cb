/**
 * How edits are judged, wherever they come from. Scores of a topic, each the mean over its edits of the mean over an
 * edit's prompts, shares from 0 to 1 unless told:
 *   efficacy, paraphrase, portability, ...   the free greedy answer to prompts of that kind is right;
 *   ...F1                words in common with the target (efficacy and paraphrase);
 *   neighbourhood        prompts beside the edit are answered as the method did before any write;
 *   neighbourhoodTruth   the same prompts answered with the truth.
 * Under teacher forcing, where a task asks for it:
 *   ...Tokens            tokens of the right answer that are the first choice (EasyEdit's rewrite_acc, rephrase_acc);
 *   ...Score             P(right) > P(rival): of the new answer against the old one, in the neighbourhood the other way
 *                        round (ROME, https://arxiv.org/abs/2202.05262, section 3.4). P is the geometric mean over
 *                        the tokens, as in ROME's code;
 *   ...Magnitude         P(right) - P(rival), from -1 to 1;
 *   harmonicScore        harmonic mean of efficacyScore, paraphraseScore and neighbourhoodScore.
 * A question's answer must match exactly, the continuation of a statement must begin with the answer (normalised as
 * for SQuAD). Edits are learned together by the stream, or one by one (`single`): written, asked about and taken back
 * while the topic's documents are held; then every score but `neighbourhood` also stands there as ...Base, as the
 * method gave it before any write.
 */
import type { Document, Method, RatedAnswer } from "../../methods/method.ts";
import { type AskedQuestion, type AskingTask, exactMatch, f1, meanOf, prefixMatch } from "../questions.ts";
import type { EvaluateOptions, NamedScores } from "../task.ts";
import { whileWritten } from "../written.ts";
import { type AskedTopic, type AskingOptions, askingTask } from "./asking.ts";

export interface EditQuestion extends AskedQuestion {
  readonly kind: string;
  /** Number of the edit within its topic. */
  readonly edit: number;
  /** What the right answer must beat in probability. */
  readonly rival?: string;
}

export interface EditedTopic extends AskedTopic<EditQuestion> {
  /** One by one: what each edit writes. The topic's own documents are held all the while. */
  readonly single?: readonly Document[];
}

export interface EditedTask extends AskingTask {
  /**
   * Takes what this method answers before any edit. To be called with the method as it was made, before it learns or
   * is restored: a run that goes on asks again, as the same greedy answers come out.
   */
  prepare(method: Method, options?: EvaluateOptions): Promise<void>;
}

export interface EditedOptions extends Omit<AskingOptions<EditQuestion>, "topics" | "evaluate"> {
  readonly topics: readonly EditedTopic[];
  /** Also rate the right answers under teacher forcing. */
  readonly forced: boolean;
}

/** What was said to one prompt. */
interface Said {
  readonly given: string;
  readonly right?: RatedAnswer;
  readonly rival?: RatedAnswer;
}

const NEIGHBOURHOOD = "neighbourhood";
const wordsCount: readonly string[] = ["efficacy", "paraphrase"];

async function ask(
  method: Method,
  questions: readonly EditQuestion[],
  { forced, ...options }: EvaluateOptions & { maxTokens: number; forced: boolean },
): Promise<Said[]> {
  const given = await method.answer(
    questions.map(({ query }) => query),
    options,
  );
  if (!forced) return given.map((one) => ({ given: one }));
  const rivals = questions.flatMap(({ query, rival }) => (rival === undefined ? [] : [{ query, answer: rival }]));
  const pairs = [...questions.map(({ query, answers }) => ({ query, answer: answers[0] })), ...rivals];
  const rated = await method.rate(pairs, { signal: options.signal });
  let next = questions.length;
  return questions.map(({ rival }, i) => {
    const own = { given: given[i], right: rated[i] };
    return rival === undefined ? own : { ...own, rival: rated[next++] };
  });
}

const isRight = (given: string, { query, answers }: EditQuestion): number =>
  (query.form === "completion" ? prefixMatch : exactMatch)(given, answers);

/** What is compared of an answer: continuations wander off, so as many words as the longest true answer has. */
function compared(given: string, { query, answers }: EditQuestion): string {
  if (query.form !== "completion") return given;
  const words = (text: string): string[] => text.split(/\s+/u).filter((word) => word !== "");
  const most = Math.max(...answers.map((answer) => words(answer).length));
  return words(given).slice(0, most).join(" ");
}

/** Geometric mean of the probabilities of an answer's tokens. */
const probability = ({ nats, tokens }: RatedAnswer): number => Math.exp(-nats / tokens);

/** The scores of one prompt by name. */
function judged(question: EditQuestion, { given, right, rival }: Said, earlier?: Said): Record<string, number> {
  const { kind, answers } = question;
  const values: Record<string, number> = {};
  if (kind === NEIGHBOURHOOD) {
    if (earlier) values[kind] = exactMatch(compared(given, question), [compared(earlier.given, question)]);
    values[`${kind}Truth`] = isRight(given, question);
  } else {
    values[kind] = isRight(given, question);
    if (wordsCount.includes(kind)) values[`${kind}F1`] = f1(compared(given, question), answers);
  }
  if (right) values[`${kind}Tokens`] = right.correct / right.tokens;
  if (right && rival) {
    const margin = probability(right) - probability(rival);
    values[`${kind}Score`] = margin > 0 ? 1 : 0;
    values[`${kind}Magnitude`] = margin;
  }
  return values;
}

/** Mean over edits of the mean over each edit's prompts. */
function meanPerEdit(values: readonly { edit: number; value: number }[]): number {
  const edits = new Map<number, number[]>();
  for (const { edit, value } of values) edits.set(edit, [...(edits.get(edit) ?? []), value]);
  return meanOf([...edits.values()].map(meanOf));
}

function means(questions: readonly EditQuestion[], of: (i: number) => Record<string, number>): NamedScores {
  const values = new Map<string, { edit: number; value: number }[]>();
  for (const [i, { edit }] of questions.entries()) {
    for (const [name, value] of Object.entries(of(i))) {
      const list = values.get(name);
      if (list) list.push({ edit, value });
      else values.set(name, [{ edit, value }]);
    }
  }
  const scores = Object.fromEntries([...values].map(([name, list]) => [name, meanPerEdit(list)]));
  const three = [...wordsCount, NEIGHBOURHOOD].map((kind) => scores[`${kind}Score`]);
  if (three.some((score) => score === undefined)) return scores;
  const harmonic = three.includes(0) ? 0 : 3 / three.reduce((sum, score) => sum + 1 / score, 0);
  return { ...scores, harmonicScore: harmonic };
}

/** Words for a protocol. */
export const editProtocol = ({ forced, held }: { forced: boolean; held?: number }): string =>
  "free greedy answers, exact for questions, how statements go on; ...F1: words in common; neighbourhood: same answer " +
  "(of statements: first words) as before any edit; neighbourhoodTruth: true answer" +
  (forced
    ? "; ...Tokens: share of right tokens under teacher forcing (neighbourhoodTokens: of the true answer); ...Score, " +
      "...Magnitude: P(new) against P(old), of neighbours P(true) against P(new), geometric means over tokens"
    : "") +
  (held === undefined
    ? ""
    : `; one edit at a time, asked right after its write while ${held} other facts are held (the row before learning ` +
      "holds none); ...Base: before any write");

export function editedTask({ topics, forced, ...rest }: EditedOptions): EditedTask {
  /** What was said before any edit, by question id; each method has its own. */
  const before = new WeakMap<Method, ReadonlyMap<string, Said>>();
  const task = askingTask<EditQuestion>({ ...rest, topics });
  const { maxTokens } = task;
  const single = topics.some((topic) => topic.single !== undefined);
  return {
    ...task,
    async prepare(method, { signal } = {}) {
      const all = topics.flatMap(({ questions }) => questions);
      const asked = single ? all : all.filter(({ kind }) => kind === NEIGHBOURHOOD);
      const said = await ask(method, asked, { maxTokens, signal, forced: forced && single });
      before.set(method, new Map(asked.map(({ id }, i) => [id, said[i]])));
    },
    async evaluate(method, topicIndex, { signal } = {}) {
      const { questions, single: edits } = topics[topicIndex];
      const earlier = before.get(method);
      const options = { maxTokens, signal, forced };
      const said = new Map<string, Said>();
      const note = (asked: readonly EditQuestion[], found: readonly Said[]): void => {
        for (const [i, { id }] of asked.entries()) said.set(id, found[i]);
      };
      if (edits === undefined) note(questions, await ask(method, questions, options));
      else {
        for (const [edit, document] of edits.entries()) {
          signal?.throwIfAborted();
          const own = questions.filter((question) => question.edit === edit);
          note(own, await whileWritten(method, [document], () => ask(method, own, options), { signal }));
        }
      }
      const scores = means(questions, (i) => {
        const question = questions[i];
        return judged(question, said.get(question.id) as Said, earlier?.get(question.id));
      });
      if (edits === undefined || earlier === undefined) return scores;
      const base = means(questions, (i) => judged(questions[i], earlier.get(questions[i].id) as Said));
      return { ...scores, ...Object.fromEntries(Object.entries(base).map(([name, value]) => [`${name}Base`, value])) };
    },
  };
}
