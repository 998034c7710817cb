/** The fit of bank compression on tiny bases, and the folder that comes of it. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { fitSmall, smallConfig, smallDocuments } from "../../../tests/support/small-bank.ts";
import { textModel } from "../../../tests/support/text-model.ts";
import { lossesOf, savedState } from "../../../tests/support/training.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import type { LoadedModel } from "../../models/load.ts";
import type { MethodEvent } from "../method.ts";
import { emptyModule, loadModule, saveModule } from "./module.ts";

const { runtime, root } = workbench("bank-fit");
const notesOf = (events: readonly MethodEvent[]): string =>
  events.flatMap((event) => (event.type === "note" ? [event.message] : [])).join("\n");
const figuresIn = (events: readonly MethodEvent[]) => events.filter((event) => event.type === "figures");

describe.each([
  // After the step that makes codebooks, and before it
  ["llama", 5],
  ["gpt2", 2],
] as const)("on %s", (architecture, stop) => {
  it(`is fitted; stopped after step ${stop} it goes on to the same numbers`, async () => {
    const base = await textModel(join(root, architecture), { architecture, context: 96 });
    const place = (name: string): string => join(root, `${architecture}-${name}`);
    const before = structuredClone(base.weights);
    const whole = await fitSmall(runtime, base, { checkpoint: place("whole") });
    expect(base.weights).toEqual(before);
    expect(notesOf(whole.events)).toMatch(/^28 documents, \d+ parameters$/m);
    expect(Object.keys(whole.result.measured)).toEqual([
      "full precision",
      "residual codes",
      "one code for a slot",
      "least codes used",
      "quantisation loss",
      "least perplexity",
    ]);
    // Codebooks begin before step 4 and are looked at every second step
    const looks = figuresIn(whole.events);
    expect(looks.map(({ step }) => step)).toEqual([4, 6, 8]);
    const books = ["one code for a slot", "depth 1", "depth 2"];
    for (const { figures } of looks) {
      expect(Object.keys(figures)).toEqual(["quantisation loss", "share of codes in use", "perplexity of codes"]);
      for (const lines of Object.values(figures)) expect(Object.keys(lines)).toEqual(books);
      // Each depth takes away from what those before it leave
      expect(figures["quantisation loss"]["depth 2"]).toBeLessThan(figures["quantisation loss"]["depth 1"]);
    }
    const losses = [];
    const repeated = [];
    for (const stopAt of [stop, undefined]) {
      const controller = new AbortController();
      const part = await fitSmall(runtime, base, {
        checkpoint: place("parts"),
        signal: controller.signal,
        onEvent: (event) => {
          if (event.type === "step" && event.step === stopAt) controller.abort();
        },
      });
      losses.push(...lossesOf(part.events));
      repeated.push(...figuresIn(part.events));
      expect(part.result.result.stopped).toBe(stopAt === undefined ? "done" : "interrupted");
      if (stopAt === undefined) {
        expect(part.result.measured).toEqual(whole.result.measured);
        await part.result.save(place("parts-module"));
      }
    }
    expect(losses).toEqual(lossesOf(whole.events));
    expect(repeated).toEqual(looks);
    expect(await savedState(place("parts"))).toEqual(await savedState(place("whole")));
    await whole.result.save(place("module"));
    const bytes = (name: string) => readFile(join(place(name), "model.safetensors"));
    expect((await bytes("parts-module")).equals(await bytes("module"))).toBe(true);

    // The folder is what was fitted, and belongs to this base
    const module = await loadModule(base, place("module"));
    await saveModule(module, place("again"));
    expect((await bytes("again")).equals(await bytes("module"))).toBe(true);
    const { sha256: _, ...loaded } = await loadModule(base, place("again"));
    expect(loaded).toMatchObject({ config: module.config, weights: module.weights });
    const other = await textModel(place("other"), { architecture, context: 96, seed: 2 });
    await expect(loadModule(other, place("module"))).rejects.toThrow(
      `bank-compression: expected a module for the base ${await other.hash()}, got one for ${await base.hash()} ` +
        `(${architecture}) in ${place("module")}; name that base with --model`,
    );
  });
});

describe("a fit", () => {
  it("stopped behind its last step, while codebooks settle, ends there and goes on to the same module", async () => {
    const base = await textModel(join(root, "settle"), { context: 96 });
    const whole = await fitSmall(runtime, base);
    const checkpoint = join(root, "settle-work");
    const controller = new AbortController();
    const stopped = fitSmall(runtime, base, {
      checkpoint,
      signal: controller.signal,
      onEvent: (event) => {
        if (event.type === "note" && event.message.startsWith("the steps are done")) controller.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
    const { events, result } = await fitSmall(runtime, base, { checkpoint });
    expect(lossesOf(events)).toEqual([]);
    expect(result.measured).toEqual(whole.result.measured);
  });

  let refused: LoadedModel | undefined;
  it("learns what it practises", async () => {
    const base = await textModel(join(root, "learn"), { context: 96 });
    const options = { steps: 30, learningRate: 1e-2, unanswerable: 0, quantizeFrom: 1 };
    const { events, result } = await fitSmall(runtime, base, { options });
    const losses = lossesOf(events).map(([, loss]) => loss);
    const mean = (some: readonly number[]): number => some.reduce((a, b) => a + b) / some.length;
    expect(mean(losses.slice(-10))).toBeLessThan(mean(losses.slice(0, 5)) - 0.7);
    expect(result.measured).not.toHaveProperty("least codes used");
  });

  it("goes on from a module, whose codebooks may have had other sizes, and from one of the same sizes only", async () => {
    const base = await textModel(join(root, "from"), { context: 96 });
    const first = await fitSmall(runtime, base);
    const from = join(root, "from-module");
    await first.result.save(from);
    // No step changes anything: what comes out is what it went on from, as it was stored
    const options = { from, steps: 1, learningRate: 1e-12, quantizeFrom: 1, depth: 3 };
    const { result } = await fitSmall(runtime, base, { options });
    await result.save(join(root, "from-again"));
    const [before, after] = [await loadModule(base, from), await loadModule(base, join(root, "from-again"))];
    const names = Object.keys(before.weights).filter((name) => name !== "bank.codebook.residual");
    for (const name of names) expect(after.weights[name], name).toEqual(before.weights[name]);
    expect(after.config.depth).toBe(3);
    // Where the module lay is of no account: moved, it is the same fit
    const { sha256 } = before;
    expect(after.config.fit).toMatchObject({ options: { from: { name: "from-module", sha256 } } });
    expect(await readFile(join(root, "from-again", "config.json"), "utf8")).not.toContain(root);
    const moved = join(root, "elsewhere", "from-module");
    await cp(from, moved, { recursive: true });
    const losses = [];
    for (const place of [from, `${moved}/`]) {
      const part = { checkpoint: join(root, "from-work"), options: { ...options, from: place } };
      losses.push(lossesOf((await fitSmall(runtime, base, part)).events));
    }
    expect(losses).toEqual([[[1, expect.any(Number)]], []]);
    const other = (name: string) => fitSmall(runtime, base, { options: { ...options, from: name } });
    await expect(other("mneme-bank-compression")).rejects.toThrow(/expected a module for the base .*\(mneme-base\)/);
    await expect(other("nowhere")).rejects.toThrow(
      "bank-compression: expected the folder of a module, got nowhere; fit one with `mneme fit bank-compression`",
    );
    await expect(fitSmall(runtime, base, { options: { ...options, blocks: 1 } })).rejects.toThrow(
      /fit: expected a module of the sizes asked for, .*"blocks":1.*, got one of .*"blocks":2.*; give its sizes/,
    );
  });

  it("lets encoders and codebooks stay where only reading learns", async () => {
    const base = await textModel(join(root, "reading"), { context: 96 });
    const weightsAfter = async (steps: number) => {
      const options = { learns: "reading", quantizeFrom: 0, steps, learningRate: 1e-2 };
      const { result } = await fitSmall(runtime, base, { options });
      const folder = join(root, `reading-${steps}`);
      await result.save(folder);
      return (await loadModule(base, folder)).weights;
    };
    const [short, long] = [await weightsAfter(1), await weightsAfter(6)];
    const stays = Object.keys(short).filter((name) => isDeepStrictEqual(short[name], long[name]));
    const encoder = /^bank\.(patch|read|positions|layers|prompted|document|slots|codebook)\./;
    expect(stays).toEqual(Object.keys(short).filter((name) => encoder.test(name)));
    expect(short["bank.codebook.residual"].data.some((value) => value !== 0)).toBe(true);
  });

  it("says how much of its codebooks is used, and tells of a collapse", async () => {
    const base = await textModel(join(root, "collapse"), { context: 96 });
    // Codebooks from one document over and over: all but a few codes are never chosen
    const one = { ...smallDocuments[0] };
    const documents = Array.from({ length: 6 }, (_, i) => ({ ...one, id: `${i}` }));
    const options = { codes: 64, reset: false, steps: 3 };
    const { events, result } = await fitSmall(runtime, base, { documents, options });
    expect(result.measured["least codes used"]).toBeLessThan(0.2);
    expect(result.measured["least perplexity"]).toBeLessThan(12);
    expect(notesOf(events)).toMatch(/a codebook collapsed: \d+\.\d% of its codes are in use; leave reset on, or use/);
  });

  it.each([
    ["fewer tokens than numbers in a place", { width: 64, places: 1, perGroup: 2 }, smallDocuments.slice(0, 2)],
    [
      "slots wider than keys and values, dropped gradients, codes by gradient, no adapters",
      { width: 128, places: 1, keep: 0.5, codebook: "gradient", rank: 0 },
      smallDocuments,
    ],
  ])("runs with %s", async (_, options, documents) => {
    const base = await textModel(join(root, "sizes"), { context: 96 });
    const { events } = await fitSmall(runtime, base, { documents, options: { ...options, steps: 3 } });
    for (const [, loss] of lossesOf(events)) expect(loss).toBeGreaterThan(0);
    expect(lossesOf(events)).toHaveLength(3);
  });

  it.each([
    [{ places: 3 }, /fit: expected sizes that fit each other, got shape\.places: it must divide width/],
    [{ blockHeads: 3 }, /got shape\.blockHeads: it must divide width/],
    [{ encoderHeads: 5 }, /got shape\.encoderHeads: it must divide encoderWidth/],
    [{ slots: 0 }, /bank-compression: expected valid options, got slots: /],
    [{ context: 8 }, /fit: expected 3 or more documents with questions of at most 8 tokens, got 0 of 28/],
    [{ full: 0, residual: 0, single: 0 }, /fit: expected a precision with a share above 0, got none/],
  ])("refuses %j", async (options, message) => {
    refused ??= await textModel(join(root, "refused"), { context: 96 });
    const base = refused;
    await expect(fitSmall(runtime, base, { options })).rejects.toThrow(message);
  });
});

describe("the module's folder", () => {
  it("is refused where it is damaged or something else", async () => {
    const base = await textModel(join(root, "damaged"), { context: 96 });
    const folder = join(root, "damaged-module");
    const path = join(folder, "config.json");
    const config = smallConfig("damaged", await base.hash());
    await saveModule(emptyModule(base, config, 1), folder);
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual(config);
    for (const [change, message] of [
      [{ model_type: "llama" }, /expected the configuration of a bank-compression module/],
      [{ codes: 1 }, /expected the configuration of a bank-compression module/],
      [{ codes: 16 }, /codebook\.(single|residual)/],
    ] as const) {
      await writeFile(path, JSON.stringify({ ...config, ...change }));
      await expect(loadModule(base, folder)).rejects.toThrow(message);
    }
    await expect(loadModule(base, join(root, "nowhere"))).rejects.toThrow(/nowhere/);
  });
});
