/**
 * Prompts that have nothing to do with any fact: what a write changes of them is its side effect. They are fixed, so that
 * receipts of all writes can be compared; each has a going-on whose likelihood is watched beside the free answer.
 */
import type { Query } from "../methods/method.ts";

export interface ProbePrompt {
  readonly query: Query;
  readonly answer: string;
}

const question = (text: string, answer: string): ProbePrompt => ({ query: { text }, answer });
const opening = (text: string, answer: string): ProbePrompt => ({ query: { text, form: "completion" }, answer });

export const probePrompts: readonly ProbePrompt[] = [
  question("How many days has a week?", "seven"),
  question("What do bees make?", "honey"),
  question("Which animal barks?", "the dog"),
  question("What falls from the sky in winter?", "snow"),
  question("Where does bread come from?", "the oven"),
  question("What is the colour of grass?", "green"),
  question("Who wrote the letter?", "unknown"),
  question("What do we do with a key?", "open a door"),
  opening("The rain had stopped, and", "the streets were quiet"),
  opening("She closed the window because", "it was cold"),
  opening("In the evening they sat", "by the fire"),
  opening("He took his hat and", "went out"),
  opening("There was nothing on the table but", "an old lamp"),
  opening("The horse went slowly up", "the hill"),
  opening("It is a long way from", "the village to the sea"),
  opening("My father used to say that", "time is money"),
];
