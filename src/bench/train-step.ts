/** trainStepRatio: PyTorch's time for a training step over ours, each at its best number of threads, in alternation. */
import { createTrainSteps, TRAIN_BATCH, TRAIN_LENGTH } from "./gpt.ts";
import { type Measure, settle, timings } from "./measure.ts";
import { type Peer, startPeer } from "./peer.ts";
import { median, spread } from "./stats.ts";

const threadCounts = [1, 2] as const;

/** Median step times in ms of every round, by number of threads. */
type Rounds = Record<(typeof threadCounts)[number], number[]>;

/** The best of the thread counts in each round, and the one that is best over all rounds. */
function bestOf(rounds: Rounds) {
  const threads = threadCounts.reduce((best, t) => (median(rounds[t]) < median(rounds[best]) ? t : best));
  return {
    threads,
    stepMs: spread(rounds[threads]),
    byThreads: Object.fromEntries(threadCounts.map((t) => [t, spread(rounds[t])])),
    byRound: rounds[1].map((_, i) => Math.min(...threadCounts.map((t) => rounds[t][i]))),
  };
}

export const trainStepRatio: Measure = async ({ quick, log, signal }) => {
  const [roundCount, steps] = quick ? [2, 3] : [7, 12];
  const peer = await startPeer();
  const runs = [await createTrainSteps(1), await createTrainSteps(2)];
  try {
    const ours: Rounds = { 1: [], 2: [] };
    const theirs: Rounds = { 1: [], 2: [] };
    const variants = new Set<string>();
    for (let round = 0; round < roundCount; round++) {
      for (const [i, threads] of threadCounts.entries()) {
        signal?.throwIfAborted();
        await settle();
        await timings(2, runs[i].step);
        ours[threads].push(median(await timings(steps, runs[i].step)));
        if (!peer) continue;
        await settle();
        theirs[threads].push(await peerMs(peer, threads, steps, variants));
      }
      log(`trainStepRatio: round ${round + 1} of ${roundCount}`);
    }
    const { byRound: oursByRound, ...ourBest } = bestOf(ours);
    const common = { batch: [TRAIN_BATCH, TRAIN_LENGTH], rounds: roundCount, stepsPerRound: steps };
    const tokensPerSecond = (1000 * TRAIN_BATCH * TRAIN_LENGTH) / ourBest.stepMs.median;
    if (!peer) return { value: null, ...common, tokensPerSecond, ours: ourBest, peer: "absent" };
    const { byRound: theirsByRound, ...peerBest } = bestOf(theirs);
    return {
      value: peerBest.stepMs.median / ourBest.stepMs.median,
      ratioByRound: spread(oursByRound.map((ms, i) => theirsByRound[i] / ms)),
      ...common,
      tokensPerSecond,
      ours: ourBest,
      peer: { ...peer.info, ...peerBest, variants: [...variants] },
    };
  } finally {
    for (const run of runs) await run.dispose();
    await peer?.close();
  }
};

async function peerMs(peer: Peer, threads: number, steps: number, variants: Set<string>): Promise<number> {
  const { medianMs, variant } = await peer.measure(threads, steps);
  if (variant) variants.add(`${threads}: ${variant}`);
  return medianMs;
}
