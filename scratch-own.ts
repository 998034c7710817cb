import { fitSmall } from "./tests/support/small-bank.ts";
import { textModel } from "./tests/support/text-model.ts";
import { lossesOf } from "./tests/support/training.ts";
import { createRuntime } from "./src/runtime/runtime.ts";
const runtime = createRuntime({ threads: 1 });
const base = await textModel("/tmp/t5try/base", { context: 96 });
const people = ["ada", "bo", "cy", "di", "ed", "flo", "gus", "hal"];
const things = ["salt", "milk", "rope", "chalk"];
const documents = people.flatMap((name, i) =>
  things.map((_, k) => {
    const thing = things[(i + k) % 4];
    return { id: `${name}-${k}`, text: `${name} counts ${thing}.`, facts: [{ prompt: { text: `what does ${name} count?` }, target: thing }] };
  }),
);
const { events, result } = await fitSmall(runtime, base, { documents, options: { context: 24, steps: 400, quantizeFrom: 1, learningRate: 5e-3, retrieved: 1, mostRetrieved: 1, unanswerable: 0, rank: 2 } });
const l = lossesOf(events).map(([, x]) => x);
for (let i = 0; i < l.length; i += 40) console.log(i, (l.slice(i, i + 40).reduce((a, b) => a + b, 0) / 40).toFixed(3));
console.log(result.measured);
await runtime.dispose();
