/**
 * trainStepRatio: PyTorch's time for a training step over ours, each at its best number of threads, in alternation.
 * Ours trains as by default: two threads compute half a batch each.
 * `value` compares with PyTorch as it is installed; `tuned` with the kernels and layers that an expert can force.
 */
import { createTrainSteps, TRAIN_BATCH, TRAIN_LENGTH } from "./gpt.ts";
import { type Measure, settle, timings } from "./measure.ts";
import { type Peer, startPeer, torchCommands } from "./peer.ts";
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

interface Opponent {
  readonly peer: Peer;
  readonly rounds: Rounds;
  readonly variants: Set<string>;
}

async function opponents(): Promise<Record<string, Opponent>> {
  const found: Record<string, Opponent> = {};
  for (const [name, tuned] of [
    ["installed", false],
    ["tuned", true],
  ] as const) {
    const peer = await startPeer(torchCommands({ tuned }));
    if (peer) found[name] = { peer, rounds: { 1: [], 2: [] }, variants: new Set() };
  }
  return found;
}

/** Ratio of medians, and its spread over the rounds. */
function compare({ peer, rounds, variants }: Opponent, ours: ReturnType<typeof bestOf>) {
  const { byRound, ...best } = bestOf(rounds);
  return {
    ratio: best.stepMs.median / ours.stepMs.median,
    ratioByRound: spread(ours.byRound.map((ms, i) => byRound[i] / ms)),
    ...peer.info,
    ...best,
    variants: [...variants],
  };
}

export const trainStepRatio: Measure = async ({ quick, log, signal }) => {
  const [roundCount, steps] = quick ? [2, 3] : [7, 12];
  const peers = await opponents();
  const runs = [await createTrainSteps(1), await createTrainSteps(2)];
  try {
    const rounds: Rounds = { 1: [], 2: [] };
    for (let round = 0; round < roundCount; round++) {
      for (const [i, threads] of threadCounts.entries()) {
        signal?.throwIfAborted();
        await settle();
        await timings(2, runs[i].step);
        rounds[threads].push(median(await timings(steps, runs[i].step)));
        for (const { peer, rounds: theirs, variants } of Object.values(peers)) {
          await settle();
          theirs[threads].push(await peerMs(peer, threads, steps, variants));
        }
      }
      log(`trainStepRatio: round ${round + 1} of ${roundCount}`);
    }
    const best = bestOf(rounds);
    const { byRound: _, ...ours } = best;
    const tokensPerSecond = (1000 * TRAIN_BATCH * TRAIN_LENGTH) / ours.stepMs.median;
    const common = {
      batch: [TRAIN_BATCH, TRAIN_LENGTH],
      rounds: roundCount,
      stepsPerRound: steps,
      tokensPerSecond,
      ours,
    };
    if (!peers.installed) return { value: null, ...common, peer: "absent" };
    const { ratio, ...peer } = compare(peers.installed, best);
    return { value: ratio, ...common, peer, tuned: peers.tuned && compare(peers.tuned, best) };
  } finally {
    for (const run of runs) await run.dispose();
    for (const { peer } of Object.values(peers)) await peer.close();
  }
};

async function peerMs(peer: Peer, threads: number, steps: number, variants: Set<string>): Promise<number> {
  const { medianMs, variant } = await peer.measure(threads, steps);
  if (variant) variants.add(`${threads}: ${variant}`);
  return medianMs;
}
