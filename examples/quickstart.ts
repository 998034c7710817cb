import { createMethod, createRuntime, embeddedModel, loadModel, readTextFile } from "../src/index.ts";

const runtime = createRuntime();
const model = await loadModel(await embeddedModel("mneme-tiny"));
const note = await readTextFile("examples/notes/1-lighthouse.txt");
const lora = await createMethod("lora", model, { rank: 8 }, { runtime });
const bits = async () => ((await lora.score("", note.text)).nats / Math.LN2 / note.bytes).toFixed(2);
console.log(`before: ${await bits()} bits per byte`);
for await (const event of lora.observe([{ id: note.path, text: note.text }])) if (event.type === "receipt") console.log(event.receipt.id);
console.log(`after: ${await bits()} bits per byte`);
for await (const text of lora.generate("The keeper of the light", { maxTokens: 30 })) process.stdout.write(text);
await runtime.dispose();
