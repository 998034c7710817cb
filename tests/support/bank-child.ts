/** A process that does a part of the bank script, and says on stdout what is done: to be killed. */
import { writeSync } from "node:fs";
import { doDeed, scriptBank } from "./bank-script.ts";

const [folder, from, to] = process.argv.slice(2);
const bank = await scriptBank(folder);
for (let i = Number(from); i < Number(to); i++) {
  await doDeed(bank, i);
  writeSync(1, `${i + 1}\n`);
}
await bank.close();
