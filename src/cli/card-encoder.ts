/** The card of a sentence encoder: equal error rate and retrieval in worlds and forms that it never saw. */
import { formatCount, formatPercent } from "../eval/format.ts";
import { type EncoderScores, measureEncoder, type Separation } from "../eval/tasks/world/encoder.ts";
import { createTextEmbedder } from "../models/embed-texts.ts";
import { loadEncoder } from "../models/load.ts";
import { type CardKind, tableOf } from "./card.ts";

const percent = (share: number): string => formatPercent(share, 2);

const rowOf = (name: string, { equalErrorRate, areaUnderRoc, bestF1, positives, negatives }: Separation): string[] => [
  name,
  percent(equalErrorRate),
  areaUnderRoc.toFixed(4),
  bestF1.toFixed(3),
  formatCount(positives),
  formatCount(negatives),
];

const sectionOf = (scores: EncoderScores): string[] => [
  "## Measured\n\nIn worlds that nothing was trained on, in held-out forms, by the cosine of two texts: do they " +
    "tell the same fact, or " +
    "are they neighbours (the same relation of another subject, another relation of the same subject)? " +
    "The first rows are of all pairs under one threshold.\n",
  tableOf(
    ["pairs", "equal error rate", "area under ROC", "best F1", "same fact", "neighbours"],
    [
      rowOf("**all**", scores),
      rowOf("all, against other subjects only", scores.byNeighbour.otherSubject),
      rowOf("all, against other relations only", scores.byNeighbour.otherRelation),
      ...Object.entries(scores.byKind).map(([kind, separation]) => rowOf(kind, separation)),
    ],
  ),
  "",
];

export const encoderCard: CardKind = {
  pipeline: "sentence-similarity",
  summary: "A small sentence encoder (mean of the last layer's tokens, brought to length 1)",
  lossUnit: "nats per pair",
  files: () => ({}),
  async measure(folder, { runtime, session }) {
    const encoder = await loadEncoder(folder, { checkWeights: true });
    const embedder = await createTextEmbedder(runtime, encoder, {
      signal: session.signal,
      onProgress: (done, total) => session.progress.update({ label: "measuring in unseen worlds", done, total }),
    });
    const scores = await measureEncoder(embedder.embed);
    session.progress.clear();
    await embedder.dispose();
    const { retrieval } = scores;
    const rate = percent(scores.equalErrorRate);
    const recall = retrieval && [
      [
        `recall at 1, a question among ${formatCount(retrieval.facts)} statements`,
        percent(retrieval.recallAt1),
      ] as const,
    ];
    return {
      fields: { encoder: scores },
      facts: [["equal error rate, the same fact against neighbours", rate], ...(recall ?? [])],
      section: sectionOf(scores),
      lines: [
        `equal error rate ${rate} in an unseen world`,
        ...(recall ?? []).map(([name, value]) => `${name}: ${value}`),
      ],
    };
  },
};
