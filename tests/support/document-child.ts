/** A process that does a part of the document script, and says on stdout what is done: to be killed. */
import { writeSync } from "node:fs";
import { doDocumentDeed, scriptDocuments } from "./document-script.ts";

const [folder, from, to] = process.argv.slice(2);
const { memory, close } = await scriptDocuments(folder);
for (let i = Number(from); i < Number(to); i++) {
  await doDocumentDeed(memory, i);
  writeSync(1, `${i + 1}\n`);
}
await close();
