/**
 * Sentences of a text, so that a question behind other sentences is still compared as itself. Intl.Segmenter knows the
 * scripts of the world but no abbreviations: "Dr. Smith" would be two. Pieces that end in one are joined again; where
 * that is wrong, two sentences stay together, which costs the caller little.
 */

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

/** Titles and such, which hardly ever end a sentence, and single capitals: initials. */
const abbreviation =
  /(?:^|[\s(“"'])(?:[A-Z]|(?:[A-Z]\.)+[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Mt|Ft|Gen|Col|Capt|Lt|Sgt|Sen|Rep|Gov|Hon|Rev|Fr|Sr|Jr|No|Nos|Vol|Op|vs|cf|ca|approx|[ie]\.[eg])\.\s*$/;

/** The sentences in order, without the blanks around them; a text of blanks has none. */
export function sentencesOf(text: string): string[] {
  const sentences: string[] = [];
  let current = "";
  const flush = (): void => {
    if (current.trim() !== "") sentences.push(current.trim());
    current = "";
  };
  for (const { segment } of segmenter.segment(text)) {
    current += segment;
    // A line that ends is an end, whatever stands before it
    if (segment.endsWith("\n") || !abbreviation.test(segment)) flush();
  }
  flush();
  return sentences;
}
