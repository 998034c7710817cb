/**
 * Tokenizers of Hugging Face checkpoints: `tokenizer.json` (and its companions) through @huggingface/tokenizers, chat
 * templates through @huggingface/jinja. This file adds what the library leaves open: the ids of the special tokens,
 * errors of one line, and a word cache that makes byte-level models about ten times faster on long texts.
 * Decoding never "cleans up" spaces: `decode(encode(text))` must give the text back.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { UserError } from "../errors.ts";
import { wordPattern } from "./byte-level.ts";
import { exists, isObject, oneLine, readError, readJsonObject, writeFileAtomic } from "./files.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface Tokenizer {
  /** Token ids of `text`; with `addSpecialTokens` (the default) what the model expects around it, such as `<s>`. */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** Text of `ids`. Ids that the vocabulary lacks give nothing. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** Largest id + 1. */
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  isSpecial(id: number): boolean;
  /** The prompt for a chat, to be encoded with `addSpecialTokens: false`. Throws where the model has no template. */
  applyChatTemplate(messages: readonly ChatMessage[], options?: { addGenerationPrompt?: boolean }): string;
}

/** The files that make up a tokenizer; a model folder has some of them. */
export const tokenizerFiles = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
] as const;

/** Copies a tokenizer's files as they are, for a model that is saved into a folder of its own. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  for (const name of tokenizerFiles) {
    if (await exists(join(from, name))) await writeFileAtomic(join(to, name), await readFile(join(from, name)));
  }
}

const maxIds = 1 << 24;

/** Loads the tokenizer of a model folder. `tokenizer.json` must be there; the other files are optional. */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const path = join(folder, "tokenizer.json");
  const json = await readJsonObject(path);
  const config = await readOptional(folder, "tokenizer_config.json");
  const specials = { ...(await readOptional(folder, "special_tokens_map.json")), ...config };
  const model = await readOptional(folder, "config.json");
  checkVocab(json, path);
  const library = build(json, config, path);
  const encodeWords = wordEncoder(library, json);
  const vocab = library.get_vocab();
  const tokens: string[] = [];
  for (const [token, id] of vocab) if (token !== undefined) tokens[id] = token;
  const special = new Set([...library.get_added_tokens_decoder().values()].filter((t) => t.special).map((t) => t.id));
  const idOf = (token: string): number | undefined => library.token_to_id(token);
  const specialId = (name: string): number | undefined => {
    const content = contentOf(specials[`${name}_token`]);
    const fromModel = model[`${name}_token_id`];
    const first: unknown = Array.isArray(fromModel) ? fromModel[0] : fromModel;
    return (
      (content === undefined ? undefined : idOf(content)) ??
      (typeof first === "number" && first in tokens ? first : undefined)
    );
  };
  const template = await findTemplate(folder, config);
  const render = template === undefined ? undefined : await compileTemplate(template, folder);

  return {
    encode(text, { addSpecialTokens = true } = {}) {
      const ids = encodeWords(text, addSpecialTokens);
      const unknown = ids.findIndex((id) => id === undefined);
      if (unknown >= 0)
        throw new UserError(
          `encode: expected ${path} to know each of its tokens, got one without id (number ${unknown}); ` +
            `repair the file`,
        );
      return ids;
    },
    decode(ids, { skipSpecialTokens = false } = {}) {
      const known = ids.filter((id) => tokens[id] !== undefined && !(skipSpecialTokens && special.has(id)));
      return known.length === 0 ? "" : library.decode(known, { skip_special_tokens: false });
    },
    vocabSize: tokens.length,
    bosId: specialId("bos"),
    eosId: specialId("eos"),
    padId: specialId("pad"),
    idOf,
    tokenOf: (id) => tokens[id],
    isSpecial: (id) => special.has(id),
    applyChatTemplate(messages, { addGenerationPrompt = true } = {}) {
      if (render === undefined) {
        throw new UserError(
          `applyChatTemplate: expected a chat template in ${folder}, got none; give a plain prompt instead`,
        );
      }
      const named = ["bos", "eos", "pad", "unk"].map((name) => [`${name}_token`, contentOf(specials[`${name}_token`])]);
      return render({
        messages,
        add_generation_prompt: addGenerationPrompt,
        ...Object.fromEntries(named.filter(([, t]) => t !== undefined)),
      });
    },
  };
}

async function readOptional(folder: string, name: string): Promise<Record<string, unknown>> {
  const path = join(folder, name);
  return (await exists(path)) ? readJsonObject(path) : {};
}

/** A special token is written as a string or as an object with `content`. */
function contentOf(value: unknown): string | undefined {
  const content = isObject(value) ? value.content : value;
  return typeof content === "string" ? content : undefined;
}

/** The library trusts ids as array indices: a wild one would be a memory hole or a lost token. */
function checkVocab(json: Record<string, unknown>, path: string): void {
  const fault = (expected: string, got: unknown): UserError =>
    new UserError(
      `tokenizer: ${path}: expected ${expected}, got ${oneLine(JSON.stringify(got) ?? "nothing", 60)}; ` +
        `download or save it again`,
    );
  const { model, added_tokens: added } = json;
  if (!isObject(model)) throw fault('"model" to be an object', model);
  const { vocab } = model;
  if (isObject(vocab)) {
    const seen = new Set<unknown>();
    for (const [token, id] of Object.entries(vocab)) {
      if (!isId(id) || seen.has(id)) throw fault(`a whole number of its own as id of "${oneLine(token, 40)}"`, id);
      seen.add(id);
    }
  } else if (!Array.isArray(vocab)) throw fault('"model.vocab" with the tokens', vocab);
  else {
    // Without a score the best split of a word is whatever comes first
    const isPiece = (entry: unknown): boolean =>
      Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "number";
    const wrong = vocab.findIndex((entry) => !isPiece(entry));
    if (wrong >= 0) throw fault('each of "model.vocab" to be a token and its score', vocab[wrong]);
  }
  if (!Array.isArray(added)) throw fault('"added_tokens" to be a list', added);
  for (const token of added) {
    if (!isObject(token) || !isId(token.id) || typeof token.content !== "string" || token.content === "") {
      throw fault('each of "added_tokens" to have an id and its content', token);
    }
  }
}

const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >= 0 && (id as number) < maxIds;

function build(json: Record<string, unknown>, config: Record<string, unknown>, path: string): LibraryTokenizer {
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  try {
    return new LibraryTokenizer({ ...parts, ...json }, { ...config, clean_up_tokenization_spaces: false });
  } catch (error) {
    const detail = error instanceof Error ? oneLine(error.message) : "an error";
    throw new UserError(
      `tokenizer: expected a supported tokenizer in ${path}, got ${detail}; use another model or save it again`,
    );
  }
}

const libraryIds = (library: LibraryTokenizer, text: string, addSpecial: boolean): number[] =>
  library.encode(text, { add_special_tokens: addSpecial }).ids;

/**
 * Encodes through the library, except plain text of GPT-2-like models (byte-level, no normaliser): each word is encoded
 * once and remembered. The library cuts words by the same pattern, and a word cut out is again one word.
 */
function wordEncoder(
  library: LibraryTokenizer,
  json: Record<string, unknown>,
): (text: string, addSpecial: boolean) => number[] {
  const plain = (text: string, addSpecial: boolean): number[] => libraryIds(library, text, addSpecial);
  const { pre_tokenizer: cut, normalizer, added_tokens: added } = json;
  const byWords = isObject(cut) && cut.type === "ByteLevel" && cut.add_prefix_space !== true && cut.use_regex !== false;
  const around = byWords && (normalizer ?? null) === null ? affixes(library) : undefined;
  if (around === undefined) return plain;
  const reserved = (added as { content: string }[]).map(({ content }) => content);
  const cache = new Map<string, number[]>();
  return (text, addSpecial) => {
    if (reserved.some((content) => text.includes(content))) return plain(text, addSpecial);
    const ids = addSpecial ? [...around.before] : [];
    for (const word of text.match(wordPattern) ?? []) {
      let known = cache.get(word);
      if (known === undefined) {
        known = plain(word, false);
        if (cache.size >= 1 << 17) cache.clear();
        if (word.length <= 64) cache.set(word, known);
      }
      for (const id of known) ids.push(id);
    }
    if (addSpecial) for (const id of around.after) ids.push(id);
    return ids;
  };
}

/** The special tokens that the library puts before and after a text; undefined where it does anything else. */
function affixes(library: LibraryTokenizer): { before: number[]; after: number[] } | undefined {
  const split = (text: string): { before: number[]; after: number[] } | undefined => {
    const bare = libraryIds(library, text, false);
    const full = libraryIds(library, text, true);
    if (bare.length === 0) return undefined;
    const at = full.findIndex((_, i) => bare.every((id, j) => full[i + j] === id));
    return at < 0 ? undefined : { before: full.slice(0, at), after: full.slice(at + bare.length) };
  };
  const [a, b] = [split("a"), split(" 1")];
  return a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b) ? a : undefined;
}

/** A chat template: its own file, or a field of tokenizer_config.json (one, or a list of named ones). */
async function findTemplate(folder: string, config: Record<string, unknown>): Promise<string | undefined> {
  const path = join(folder, "chat_template.jinja");
  if (await exists(path)) {
    return readFile(path, "utf8").catch((error: unknown) => {
      throw readError("tokenizer", path, error);
    });
  }
  const field = config.chat_template ?? (await readOptional(folder, "chat_template.json")).chat_template;
  if (typeof field === "string") return field;
  const named: unknown = Array.isArray(field)
    ? (field.find((t) => isObject(t) && t.name === "default") ?? field[0])
    : undefined;
  return isObject(named) && typeof named.template === "string" ? named.template : undefined;
}

async function compileTemplate(source: string, folder: string): Promise<(values: Record<string, unknown>) => string> {
  const { Template } = await import("@huggingface/jinja");
  const fault = (error: unknown): UserError => {
    const detail = error instanceof Error ? oneLine(error.message) : "an error";
    return new UserError(
      `applyChatTemplate: expected the chat template of ${folder} to render, got "${detail}"; ` +
        `check the messages' roles and order`,
    );
  };
  let template: InstanceType<typeof Template> | undefined;
  return (values) => {
    try {
      template ??= new Template(source);
      return template.render(values);
    } catch (error) {
      throw fault(error);
    }
  };
}

/** Fails when the tokenizer can produce ids that the model has no row for. (A model may have spare rows.) */
export function checkVocabulary(tokenizer: Tokenizer, vocabSize: number): void {
  if (tokenizer.vocabSize <= vocabSize) return;
  const last = tokenizer.vocabSize - 1;
  throw new UserError(
    `tokenizer and model disagree: expected ids below the model's vocab_size ${vocabSize}, got ids up to ${last} ` +
      `("${oneLine(tokenizer.tokenOf(last) ?? "", 40)}"); use the tokenizer that belongs to the model`,
  );
}

/** Text of a token stream as it becomes final. */
export interface StreamDecoder {
  /** The text that one more token makes certain; often empty in the middle of a character. */
  push(id: number): string;
  /** What was held back: an unfinished character shows as U+FFFD. */
  end(): string;
}

/**
 * Decodes token by token: all pieces joined equal `decode` of all ids. A window of tokens since the last complete
 * character, with the piece before it as context (decoders treat the first token differently), is decoded afresh;
 * a U+FFFD at its end may be the start of a character, so it is held back.
 */
export function createDecoder(
  tokenizer: Tokenizer,
  { skipSpecialTokens = false }: { skipSpecialTokens?: boolean } = {},
): StreamDecoder {
  let context: number[] = [];
  let pending: number[] = [];
  let emitted = "";
  const text = (): string =>
    tokenizer
      .decode([...context, ...pending], { skipSpecialTokens })
      .slice(tokenizer.decode(context, { skipSpecialTokens }).length);
  const emit = (final: string): string => {
    const piece = final.slice(emitted.length);
    emitted = final;
    return piece;
  };
  return {
    push(id) {
      if (tokenizer.tokenOf(id) === undefined || (skipSpecialTokens && tokenizer.isSpecial(id))) return "";
      pending.push(id);
      const now = text();
      if (now.endsWith("\uFFFD")) return now.length - 1 > emitted.length ? emit(now.slice(0, -1)) : "";
      const piece = emit(now);
      if (now !== "") {
        context = pending;
        pending = [];
        emitted = "";
      }
      return piece;
    },
    end() {
      const rest = pending.length > 0 ? emit(text()) : "";
      context = [];
      pending = [];
      emitted = "";
      return rest;
    },
  };
}
