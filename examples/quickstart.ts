// The example of the README, to be run from the repository: npx tsx examples/quickstart.ts
import { createRuntime, loadModel, methodNamed, parseMethodOptions, resolveModel } from "../src/index.ts";

const model = await loadModel((await resolveModel("mneme-base")).folder);
const runtime = createRuntime();
const lora = methodNamed("lora");
const method = await lora.create(model, parseMethodOptions(lora, { rank: 4, epochs: 2 }), { runtime, seed: 1 });
const text = "The lamp of the Skerrow light burns colza oil, and its keeper is called Maren Holt. ".repeat(20);
for await (const event of method.observe([{ id: "note", text }])) if (event.type === "step") console.log(event.loss);
for await (const piece of method.generate("The keeper is called", { maxTokens: 12 })) process.stdout.write(piece);
await runtime.dispose();
