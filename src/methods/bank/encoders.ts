/**
 * Which encoder a module has: our own, or a T5 that its configuration names. The frozen weights of a T5 are not part of
 * the module, so a module is only read with the T5 that it was fitted with.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { resolveModel } from "../../models/embedded.ts";
import { loadEncoderDecoder, type LoadedEncoderDecoder, type LoadedModel } from "../../models/load.ts";
import { ownEncoder } from "./encoder.ts";
import type { BankShape } from "./shape.ts";
import type { SlotEncoder } from "./slot-encoder.ts";
import { t5Encoder, t5Sizes, trainedParts, type TrainedPart } from "./t5-encoder.ts";

/** What a module's configuration says of a T5; of our own encoder it says nothing. */
export const encoderSchema = z.object({
  /** Its folder or hub id. */
  name: z.string().min(1),
  /** Of its weights. */
  sha256: z.string(),
  /** What of it the fit trained: that is part of the module. */
  trained: z.enum(trainedParts),
});

type EncoderConfig = z.output<typeof encoderSchema>;

/** A T5 by folder or hub id, and the name to find it by again from anywhere. */
async function openT5(given: string): Promise<{ t5: LoadedEncoderDecoder; name: string }> {
  const { folder, commit } = await resolveModel(given);
  return { t5: await loadEncoderDecoder(folder), name: commit === undefined ? resolve(folder) : given };
}

interface EncoderWanted {
  /** A T5, or none for our own. */
  readonly encoder?: string;
  readonly trainEncoder: TrainedPart;
  /** Sizes of our own. */
  readonly encoderWidth: number;
  readonly encoderLayers: number;
  readonly encoderHeads: number;
  /** Most tokens of a document; by default one for each place of our own, and all that a T5 was trained with. */
  readonly context?: number;
  readonly slots: number;
  readonly places: number;
}

export interface EncoderChoice {
  readonly config?: EncoderConfig;
  /** Its part of the module's shape. */
  readonly sizes: Pick<BankShape, "encoderWidth" | "encoderLayers" | "encoderHeads" | "context">;
  encoderOf(shape: BankShape): SlotEncoder;
}

/** The encoder of a module that is to be fitted. */
export async function chooseEncoder(base: LoadedModel, wanted: EncoderWanted): Promise<EncoderChoice> {
  const { encoder, trainEncoder: trained, encoderWidth, encoderLayers, encoderHeads, slots, places } = wanted;
  if (encoder === undefined) {
    const { context = slots * places } = wanted;
    return {
      sizes: { encoderWidth, encoderLayers, encoderHeads, context },
      encoderOf: (shape) => ownEncoder(base, shape),
    };
  }
  const { t5, name } = await openT5(encoder);
  const sizes = t5Sizes(t5);
  return {
    config: { name, sha256: await t5.hash(), trained },
    sizes: { ...sizes, context: wanted.context ?? sizes.context },
    encoderOf: (shape) => t5Encoder(t5, shape, trained),
  };
}

interface EncoderOfModule {
  readonly config?: EncoderConfig;
  readonly shape: BankShape;
  /** Folder of the module. */
  readonly module: string;
  /** Where its T5 is, if not where its configuration says. */
  readonly encoder?: string;
}

/** The encoder that a module was fitted with; another one is refused. */
export async function encoderOfModule(
  base: LoadedModel,
  { config, shape, module, encoder }: EncoderOfModule,
): Promise<SlotEncoder> {
  if (config === undefined) {
    if (encoder === undefined) return ownEncoder(base, shape);
    throw new UserError(
      `bank-compression: expected a module that was fitted with a T5 to go with the encoder ${encoder}, got one with an ` +
        `encoder of its own in ${module}; leave --encoder out`,
    );
  }
  const { sha256, trained } = config;
  const name = encoder ?? config.name;
  const { t5 } = await openT5(name).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `bank-compression: expected the encoder ${name} that the module in ${module} was fitted with, got no T5 ` +
        `(${error.message}); put it there, or say with --encoder where it is`,
    );
  });
  const hash = await t5.hash();
  if (hash === sha256) return t5Encoder(t5, shape, trained);
  throw new UserError(
    `bank-compression: expected the encoder ${sha256} that the module in ${module} was fitted with, got ${hash} in ` +
      `${t5.folder}; say with --encoder where that one is, or fit a module with this one with ` +
      "`mneme fit bank-compression --encoder`",
  );
}
