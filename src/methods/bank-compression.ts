/**
 * Memory bank compression (https://arxiv.org/abs/2601.00756, on MAC, https://arxiv.org/abs/2403.04317): documents become a
 * few slots each, are kept in a bank as indices into codebooks, and a question aggregates what it reads of the bank into
 * keys and values that the base sees before it. Without an entry the base answers as itself.
 *
 * We differ: entries may be found by key before they are aggregated, several codes may add up for a part of a slot, one
 * entry holds a document (or a chunk of it) whatever is asked about it, and padding is masked. docs/bank-compression.md.
 */
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "../checkpoint/files.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import type { BankEntry, KeyFormat } from "../memory/bank.ts";
import { recoded } from "../memory/bank-entry.ts";
import { createMemoryBank } from "../memory/memory-bank.ts";
import { createTextEmbedder } from "../models/embed-texts.ts";
import { resolveModel } from "../models/embedded.ts";
import { fitsGraph } from "../models/instance.ts";
import { loadEncoder } from "../models/load.ts";
import { NAMES_SHARE, withNames } from "../models/named-texts.ts";
import { sizeOf } from "../tensor/dtype.ts";
import { createAsking } from "./bank/asking.ts";
import { type Chunk, chunksOf } from "./bank/chunks.ts";
import { figuresOfBank } from "./bank/figures.ts";
import { bankFit } from "./bank/fit.ts";
import { modeNames, modes } from "./bank/modes.ts";
import { adaptedModel, emptyModule, loadModule, usualConfig } from "./bank/module.ts";
import { createCoder } from "./bank/coder.ts";
import { createNearest, followingCodebook } from "./bank/nearest.ts";
import { createOnline } from "./bank/online.ts";
import { type Arrival, checkBudget } from "./bank/curator.ts";
import { createKeeping, type Kept } from "./bank/keeping.ts";
import { policyNames } from "./bank/policy.ts";
import { createReader } from "./bank/reader.ts";
import { controlNames, createView } from "./bank/view.ts";
import { defineMethod } from "./definition.ts";
import { type EncodedDocument, type EntryStore, inLots } from "./document-face.ts";
import { type EncodeOptions, identityOf } from "./fact-face.ts";
import { makeFolder, moduleFolder } from "./folders.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import { languageFace } from "./language.ts";
import type { Document, Method, MethodEvent, MethodState, ObserveOptions } from "./method.ts";

const options = z.object({
  module: z
    .string()
    .min(1)
    .default("mneme-bank-compression")
    .describe("fitted module: a folder, or one that comes along"),
  kind: z
    .enum(modeNames)
    .default("mbc-residual")
    .describe("mac: full precision; mbc: one code for a slot; mbc-topk: of the nearest entries; mbc-residual: several"),
  encoder: z
    .string()
    .min(1)
    .optional()
    .describe("where the T5 is that the module was fitted with (default: where it was then)"),
  topK: z.int().nonnegative().optional().describe("entries that a question reads, 0 for all (default: the mode's)"),
  depth: z.int().positive().optional().describe("residual codes for each place of a slot (default: all there are)"),
  embedder: z.string().min(1).default("mneme-embed").describe("sentence encoder that makes the keys"),
  names: z
    .number()
    .min(0)
    .lt(1)
    .default(NAMES_SHARE)
    .describe("share that rare words in common have in how near a question is to a document"),
  nameWidth: z.int().positive().max(65_536).default(128).describe("numbers for the rare words in a key"),
  codebook: z
    .enum(["module", "stream"])
    .default("module")
    .describe("the module's own, or made to follow the documents of a first step, where that has 128 or more"),
  beams: z
    .int()
    .positive()
    .max(64)
    .default(4)
    .describe(
      "sums of residual codes that are followed from depth to depth while a document is coded; 1 for the nearest",
    ),
  keyBits: z.enum(["4", "8", "16", "32"]).default("4").describe("bits of a number in a key"),
  threshold: z
    .number()
    .min(-1)
    .max(1)
    .optional()
    .describe("least cosine, by key, of a question that the bank is read for; -1 for every one (default: the mode's)"),
  sharpness: z
    .number()
    .nonnegative()
    .default(40)
    .describe("how much an entry is set back for being farther by key than the nearest"),
  together: z
    .int()
    .nonnegative()
    .default(0)
    .describe("entries aggregated at once where all are read, more in a hierarchy; 0 for any number"),
  alpha: z.number().min(0).lt(1).default(0.9).describe("mbc-online: weight of the past at each update"),
  learningRate: z.number().positive().default(1e-3).describe("mbc-online: rate of adapters and codebooks"),
  updates: z.int().positive().default(4).describe("mbc-online: updates at each step of the stream"),
  reset: z.boolean().default(true).describe("mbc-online: put codes that nothing chooses where the data is"),
  versions: z.int().positive().default(4).describe("mbc-online: most codebooks kept; older entries are coded anew"),
  mostEntries: z.int().positive().optional().describe("most entries; then the oldest document goes"),
  policy: z
    .enum(policyNames)
    .optional()
    .describe(
      "what becomes of documents where room is short, in evaluations: store (then drop), oldest (goes), merge (with the " +
        "nearest), replace (the nearest), random, or bandit: what the questions that documents bring reward (default " +
        "with a budget: oldest)",
    ),
  budget: z.int().positive().optional().describe("most bytes of the bank, with codebooks and settings"),
  policyCost: z.number().nonnegative().default(0.01).describe("bandit: accuracy that a megabyte costs"),
  explore: z.number().nonnegative().default(0.3).describe("bandit: how much an uncertain reward counts as a good one"),
  control: z
    .enum(controlNames)
    .default("none")
    .describe("what is read instead, as a control: adapters alone, other entries, permuted codes, fewer entries"),
  left: z.number().gt(0).max(1).default(0.5).describe("share of the entries that controls of fewer leave"),
});

/** Documents that are encoded and written together. */
const AT_ONCE = 64;
/** Most documents that a codebook follows, and the fewest. */
const FOLLOWED = 2048;
const FEWEST = 128;

const receiptsSchema = z.object({
  writes: z.int().min(0),
  receipts: z.array(z.object({ id: z.string(), documents: z.array(z.string()) })),
  bank: z.record(z.string(), z.unknown()),
  online: z.object({ steps: z.int().min(0), updates: z.int().min(0) }).optional(),
  keeping: z.record(z.string(), z.unknown()).optional(),
});

export const bankCompression = defineMethod({
  name: "bank-compression",
  summary: "keep documents as a few codes each in a bank, read them back as a prefix",
  paper: "https://arxiv.org/abs/2601.00756",
  options,
  fit: bankFit,
  documents: {
    kept: ["kind", "depth", "names", "nameWidth", "keyBits"],
    named: ["module", "embedder", "encoder"],
    reading: ["topK", "threshold", "sharpness", "together"],
  },
  async create(base, given, { runtime, seed }) {
    const { kind, control } = given;
    const mode = modes[kind];
    const module = mode.online
      ? { ...emptyModule(base, await usualConfig(base), seed), sha256: "online" }
      : await loadModule(base, await moduleFolder("bank-compression", given.module), { encoder: given.encoder });
    const { shape, depth: deepest } = module.config;
    const { depth = deepest } = given;
    if (given.depth !== undefined && !mode.isDeep) {
      throw new UserError(
        `bank-compression: expected no depth with kind ${kind}, which has no residual codes, got ${depth}; leave it out`,
      );
    }
    if (depth > deepest) {
      throw new UserError(
        `bank-compression: expected a depth of at most ${deepest} (the module's codebooks), got ${depth}`,
      );
    }
    const topK = given.topK ?? mode.topK;
    const { tokenizer, eosIds } = base;
    const size = shape.slots * shape.width;
    const { context } = module.encoder;
    const encoder = await loadEncoder((await resolveModel(given.embedder)).folder);
    const embedder = withNames(await createTextEmbedder(runtime, encoder), encoder.tokenizer, {
      share: given.names,
      width: given.nameWidth,
    });
    const frozen = !mode.online && fitsGraph({ weights: { ...base.weights, ...module.encoder.weights } });
    const reader = createReader({ runtime, base, module, frozen });
    const bare = languageFace({ runtime, model: base, tokenizer, eosIds, frozen: fitsGraph(base) });
    const adaptersOnly =
      control === "adapters" || control === "wrong-bank"
        ? languageFace({ runtime, model: adaptedModel(base, module), tokenizer, eosIds, frozen })
        : undefined;
    const keys = { width: embedder.width, bits: Number(given.keyBits) as KeyFormat["bits"] };
    const { alpha, learningRate, updates, reset } = given;
    const online = mode.online
      ? await createOnline({ runtime, base, module, reader, alpha, learningRate, updates, reset, seed })
      : undefined;
    if (mode.online && given.codebook === "stream") {
      throw new UserError(
        "bank-compression: expected codebook module with mbc-online, whose codebook learns by itself, got stream; leave it out",
      );
    }
    const fitted = mode.codebook(module, depth);
    // One that follows the stream moves, and the module's stays
    const codebook = given.codebook === "module" ? fitted : { ...fitted, data: fitted.data.slice() };
    const { nearest, dispose: disposeNearest } = createNearest(runtime);
    const coder = createCoder(runtime, { beams: given.beams });
    const identity = identityOf({
      method: "bank-compression",
      base: await base.hash(),
      module: module.sha256,
      embedder: await encoder.hash(),
      ...(module.config.encoder && { encoder: module.config.encoder.sha256 }),
      kind,
      ...(mode.isDeep && { depth }),
      names: given.names,
      nameWidth: given.nameWidth,
      keyBits: given.keyBits,
    });
    const { budget, mostEntries, policy = budget === undefined ? undefined : "oldest" } = given;
    const limit = mostEntries === undefined || policy ? undefined : { entries: mostEntries };
    const own = createMemoryBank({ module: module.sha256, keys, limit });

    let bank: EntryStore = own;
    let version = await own.addCodebook(codebook);
    await checkBudget(own, budget);
    const view = createView({ bank: () => bank, size, control, share: given.left, seed });
    let writes = 0;
    let receipts: { id: string; documents: string[] }[] = [];
    let bits = 0;

    /** The codebook as it stands is a version of its own; entries of old versions are coded anew where there are many. */
    const renew = async (): Promise<void> => {
      version = await own.addCodebook(codebook);
      // Under a budget, codebooks are not to take the room of entries
      const kept = own.versions().slice(budget === undefined ? -given.versions : -1);
      if (own.versions().length <= kept.length) return;
      const newest = own.quantizer(version);
      await own.compact({
        recode: (entry) =>
          kept.includes(entry.version) ? entry : recoded(entry, own.quantizer(entry.version), newest, version),
      });
    };

    /** Reads the histogram of the whole bank, unless some of its entries are of another codebook. */
    const fast = (questions: Float32Array): Promise<Float32Array> | undefined => {
      const { codebook, positions } = bank.quantizer(version);
      const counts = bank.histogram(version, { byPosition: true });
      if (counts.reduce((sum, count) => sum + count, 0) !== bank.count() * positions) return undefined;
      return reader.readCodes(questions, Float32Array.from(counts), codebook.data);
    };
    const asking = createAsking({
      reader,
      bare,
      adaptersOnly,
      view,
      questionIds: module.encoder.questionIds,
      size,
      topK,
      threshold: given.threshold ?? mode.threshold,
      sharpness: given.sharpness,
      together: given.together,
      keysOf: embedder.embed,
      ...(codebook.kind === "token" && control === "none" && given.together === 0 && { fast }),
    });

    const keeping =
      policy &&
      createKeeping({
        policy,
        bank: own,
        budget,
        mostEntries,
        codebook,
        online,
        rate: asking.rate,
        cost: given.policyCost,
        explore: given.explore,
        seed,
        renew,
      });

    /** As entries of the newest codebook, with the numbers that were coded. */
    const encodeSlots = async (documents: readonly Document[], encoding: EncodeOptions = {}): Promise<Arrival[]> => {
      const { nameOf = (i: number) => `document ${i + 1}`, signal, onProgress } = encoding;
      const cut = documents.map(({ text }, i): Chunk[] => {
        const chunks = chunksOf(module.encoder, text);
        if (chunks.length > 0) return chunks;
        throw new UserError(`bank-compression: expected a text, got an empty one in ${nameOf(i)}; leave it out`);
      });
      const chunks = cut.flat();
      if (chunks.length === 0) return [];
      const slots = await reader.slots(
        chunks.map(({ ids }) => ids),
        { signal },
      );
      const found = await embedder.embed(chunks.map(({ told }) => told));
      const quantizer = bank.quantizer(version);
      const { indices, errors } =
        quantizer.bins === 0 ? quantizer.encode(slots) : await coder.encode(quantizer.codebook, slots);
      const { positions } = quantizer;
      const perChunk = errors.length / chunks.length;
      let at = 0;
      return documents.map(({ id, time = 0 }, i) => {
        const entries: BankEntry[] = [];
        const own: Float32Array[] = [];
        let [tokens, error] = [0, 0];
        for (const { ids } of cut[i]) {
          entries.push({
            document: id,
            time,
            key: found.slice(at * keys.width, (at + 1) * keys.width),
            version,
            indices: indices.slice(at * positions, (at + 1) * positions),
          });
          own.push(slots.slice(at * size, (at + 1) * size));
          tokens += ids.length;
          for (let k = at * perChunk; k < (at + 1) * perChunk; k++) error += errors[k];
          at++;
        }
        onProgress?.(i + 1, documents.length);
        // In full precision there is nothing that a codebook could fit
        const kept = { document: id, entries, tokens, slots: own };
        return quantizer.bins === 0 ? kept : { ...kept, error: error / (size * cut[i].length) };
      });
    };
    const encode = async (documents: readonly Document[], encoding?: EncodeOptions): Promise<EncodedDocument[]> =>
      (await encodeSlots(documents, encoding)).map(({ document, entries, tokens, error }) => {
        return { document, entries, tokens, ...(error !== undefined && { error }) };
      });

    const writeAll = async (documents: readonly Document[], encoded: readonly Arrival[]): Promise<Kept> => {
      const evicted: string[] = [];
      for (const lot of inLots(encoded, given.mostEntries))
        evicted.push(...(await bank.replace(lot.flatMap(({ entries }) => entries))).evicted);
      const learned = await online?.learn(documents);
      return { loss: learned?.loss ?? 0, updates, notes: [], evicted };
    };

    /** Undefined where it was stopped: then all is as before. */
    const keep = async (
      documents: readonly Document[],
      encoded: readonly Arrival[],
      signal: AbortSignal | undefined,
    ): Promise<Kept | undefined> => {
      const before = signal && (await method.state());
      try {
        return await keeping?.take(documents, encoded, { signal });
      } catch (error) {
        if (!before || !signal?.aborted) throw error;
        await method.restore(before);
        return undefined;
      }
    };

    /** A codebook of the bank's own, in place of the module's as long as no entry has that. */
    const follow = async (documents: readonly Document[], signal?: AbortSignal): Promise<void> => {
      if (given.codebook === "module" || codebook.kind === "full" || bank.count() > 0) return;
      const some = documents.slice(0, FOLLOWED).flatMap(({ text }) => chunksOf(module.encoder, text));
      if (some.length < FEWEST) return;
      const slots = await reader.slots(
        some.map(({ ids }) => ids),
        { signal },
      );
      // From the module's, however often: a step that is stopped and begun again is no other
      codebook.data.set((await followingCodebook(fitted, slots, nearest)).data);
      version = await own.addCodebook(codebook);
      // No entry has the module's
      await own.compact();
    };

    async function* observe(
      documents: readonly Document[],
      { signal }: ObserveOptions = {},
    ): AsyncGenerator<MethodEvent> {
      const started = performance.now();
      const id = receiptId("bank-compression", hashOf([writes, contentsOf(documents)]));
      await online?.begin(documents);
      if (online) await renew();
      await follow(documents, signal);
      const encoded: Arrival[] = [];
      for (let start = 0; start < documents.length && !signal?.aborted; start += AT_ONCE) {
        const some = documents.slice(start, start + AT_ONCE);
        const lot = await encodeSlots(some, { nameOf: (i) => `document ${start + i + 1}` });
        encoded.push(...(keeping ? lot : lot.map((one) => ({ ...one, slots: [] }))));
        if (start + AT_ONCE < documents.length)
          yield { type: "note", message: `encoded ${encoded.length} of ${documents.length} documents` };
      }
      const whole = encoded.length === documents.length;
      const tokens = encoded.reduce((sum, one) => sum + one.tokens, 0);
      const written = whole
        ? await (keeping ? keep(documents, encoded, signal) : writeAll(documents, encoded))
        : undefined;
      if (written) {
        for (const message of written.notes) yield { type: "note", message };
        receipts.push({ id, documents: documents.map((document) => document.id) });
        writes++;
        if (bank === own) bits = (await own.size()).total;
        const chunks = encoded.reduce((sum, { entries }) => sum + entries.length, 0);
        const { evicted = [] } = written;
        if (evicted.length > 0) {
          const some = `${evicted.slice(0, 3).join(", ")}${evicted.length > 3 ? ", ..." : ""}`;
          yield { type: "note", message: `no room left: ${evicted.length} of the oldest documents went (${some})` };
        }
        if (chunks > encoded.length)
          yield {
            type: "note",
            message: `${encoded.length} documents in ${chunks} chunks of at most ${context} tokens`,
          };
      }
      yield {
        type: "receipt",
        receipt: {
          id,
          documents: documents.map((document) => document.id),
          ...(written?.evicted && written.evicted.length > 0 && { evicted: written.evicted }),
          steps: online ? (written?.updates ?? updates) : 0,
          tokens,
          seconds: (performance.now() - started) / 1000,
          finalLoss: written?.loss ?? 0,
          stopped: written ? "done" : "interrupted",
          flops: 2 * module.encoder.parameters * tokens,
          ...(written?.became && { became: written.became }),
        },
      };
    }

    const method: Method = {
      name: "bank-compression",
      // What was averaged cannot be taken apart
      canForget: !keeping,
      needsFit: true,
      observe,
      documents: {
        identity,
        mostEntries: given.mostEntries,
        get bank() {
          return bank;
        },
        async use(other) {
          if (online) {
            throw new UserError(
              "bank-compression: expected a kind with a fitted module for a bank in a folder, got mbc-online, whose codes " +
                "move; name another --kind",
            );
          }
          if (given.codebook === "stream") {
            throw new UserError(
              "bank-compression: expected codebook module for a bank in a folder, whose documents come a few at a time, got " +
                "stream; leave out --codebook, which is for evaluations",
            );
          }
          if (keeping) {
            throw new UserError(
              "bank-compression: expected no policy and no budget for a bank in a folder, which keeps every document that " +
                `is learned, got ${policy}; leave out --policy and --budget, which are for evaluations`,
            );
          }
          if (other.module !== module.sha256 || other.keys.width !== keys.width || other.keys.bits !== keys.bits) {
            throw new UserError(
              `bank-compression: expected a bank of module ${module.sha256.slice(0, 12)} with keys of ${keys.width} ` +
                `numbers of ${keys.bits} bits, got one of ${other.module.slice(0, 12) || "no module"} with ` +
                `${other.keys.width} of ${other.keys.bits}; open it with the module it was made with`,
            );
          }
          version = await other.addCodebook(codebook);
          bank = other;
        },
        encode,
        look: asking.look,
        without: asking.without,
      },
      async forget(id) {
        if (keeping) {
          throw new UserError(
            `bank-compression: expected a bank without a policy to forget a receipt in, got ${policy}; forget documents ` +
              "of a bank that keeps all",
          );
        }
        const found = receipts.find((receipt) => receipt.id === id);
        if (!found) {
          const last = receipts.at(-1)?.id;
          throw new UserError(
            `bank-compression: expected the id of a receipt to forget, got ${JSON.stringify(id)}; ` +
              `${last === undefined ? "nothing is kept" : `the last one is ${last}`}`,
          );
        }
        // What was written again since belongs to the later receipt
        const later = new Set(receipts.slice(receipts.indexOf(found) + 1).flatMap(({ documents }) => documents));
        await bank.delete(...found.documents.filter((document) => bank.has(document) && !later.has(document)));
        receipts = receipts.filter((receipt) => receipt !== found);
        if (bank === own) bits = (await own.size()).total;
      },
      score: asking.score,
      generate: asking.generate,
      answer: asking.answer,
      rate: asking.rate,
      inspect: bare.inspect,
      bytes: () => Object.values(module.weights).reduce((sum, tensor) => sum + 4 * sizeOf(tensor.shape), 0) + bits / 8,
      held: () => figuresOfBank(bank, { version, bits }),
      async state(): Promise<MethodState> {
        if (bank !== own) {
          throw new UserError(
            "bank-compression: expected a bank in RAM to save, got one in a folder, which keeps itself; export the memory",
          );
        }
        const { tensors, json } = await own.state();
        const moved = online?.state();
        const kept = keeping?.state();
        return {
          tensors: { ...tensors, ...moved?.tensors, ...kept?.tensors },
          json: {
            writes,
            receipts,
            bank: json,
            ...(moved && { online: moved.json }),
            ...(kept && { keeping: kept.json }),
          },
        };
      },
      async restore({ tensors, json }) {
        const parsed = receiptsSchema.safeParse(json);
        if (!parsed.success || bank !== own || Boolean(keeping) !== Boolean(parsed.data.keeping)) {
          throw new UserError(
            "bank-compression: expected a state with a bank and receipts, got none or another method's; restore it with " +
              "the options it was made with",
          );
        }
        if (online && parsed.data.online) online.restore(tensors, parsed.data.online);
        const ofBank = Object.entries(tensors).filter(([name]) => !/^(module|moment|usage|keeping)\//.test(name));
        await own.restore({ tensors: Object.fromEntries(ofBank), json: parsed.data.bank });
        const last = own.versions().at(-1);
        if (given.codebook === "stream" && last !== undefined) codebook.data.set(own.quantizer(last).codebook.data);
        ({ writes, receipts } = parsed.data);
        if (parsed.data.keeping) await keeping?.restore({ tensors, json: parsed.data.keeping });
        version = await own.addCodebook(codebook);
        bits = (await own.size()).total;
      },
      async dispose() {
        await online?.dispose();
        await disposeNearest();
        await coder.dispose();
        await reader.dispose();
        await bare.dispose();
        await adaptersOnly?.dispose();
        await embedder.dispose();
      },
    };
    return method;
  },
  async save(method, _base, folder) {
    const { tensors, json } = await method.state();
    await makeFolder(folder);
    await writeSafetensors(join(folder, "bank.safetensors"), tensors);
    await writeFileAtomic(join(folder, "bank.json"), `${JSON.stringify(json)}\n`);
    return `the bank with its keys and codebooks (bank-compression changes no weights): ${folder}`;
  },
});
