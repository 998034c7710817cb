/**
 * The library. From the bottom up: tensors with gradients, a runtime that compiles and runs them, layers and
 * optimizers, checkpoints, language models, methods that go on learning, and what measures them.
 */

// Errors: every fault of the caller is a UserError with one line.
export { UserError } from "./errors.ts";

// Tensors: symbolic, typed, differentiable. `tensor.matmul(a, b)`; `gradients(loss, [w])`.
export * as tensor from "./tensor/functions.ts";
export { gradients, type RowGradient, sparseGradients } from "./tensor/grad.ts";
export type { Tensor } from "./tensor/graph.ts";
export { type DType, float32Host, type HostTensor, int32Host, zerosHost } from "./tensor/dtype.ts";
export { type Random, randomStream } from "./tensor/random.ts";
export type { Shape } from "./tensor/shape.ts";

// Runtime: compile once, run often, on this thread or in a worker.
export {
  createRuntime,
  jit,
  type Program,
  type RunOptions,
  type Runtime,
  type RuntimeOptions,
  type SessionHost,
} from "./runtime/runtime.ts";
export { type Device, devices } from "./runtime/session.ts";
export { workerHost } from "./runtime/worker.ts";

// Layers and optimizers.
export { adam, adamw, type Optimizer, sgd } from "./nn/optim.ts";
export { rowAdam, rowAdamw, type RowOptimizer, rowSgd } from "./nn/sparse-optim.ts";
export { type Schedule, schedules } from "./nn/schedule.ts";
export { type Modification, type Params, paramsOf, weightInputs } from "./nn/params.ts";

// Checkpoints in Hugging Face layout.
export {
  openCheckpoint,
  openSafetensors,
  readAll,
  type SafetensorsFile,
  writeSafetensors,
} from "./checkpoint/safetensors.ts";
export { type DownloadProgress, listCached, type ResolvedModel } from "./checkpoint/hub.ts";
export { type ChatMessage, loadTokenizer, type Tokenizer } from "./checkpoint/tokenizer.ts";
export { trainBpe } from "./checkpoint/bpe.ts";
export { embeddedModels, resolveModel } from "./models/embedded.ts";

// Memory: facts as keys and values by least squares, forgotten exactly; addressing turns latents into keys.
export { createEpisodes, type Episodes, type EpisodesOptions, type Place, type Reading } from "./memory/episodes.ts";
export {
  createEpisodicMemory,
  type EpisodicMemory,
  type EpisodicOptions,
  type MemoryMonitor,
  readRepeatedly,
} from "./memory/episodic.ts";
export {
  type Addressing,
  episodeReference,
  gaussianAddressing,
  memoryAddressing,
  randomReference,
  referenceAddressing,
} from "./memory/addressing.ts";

// Scope: is a question about something that was written?
export {
  createClassifierScope,
  createExternalScope,
  createResidualScope,
  type ExternalScope,
  type ScopeVerdict,
} from "./memory/scope.ts";
export { fitPairClassifier, type PairClassifier, pairClassifierOf } from "./memory/pair-classifier.ts";
export { type Calibration, calibrate, type ThresholdAim } from "./memory/threshold.ts";
export { createVectorStore, type VectorStore } from "./memory/vector-store.ts";

// Models: load, decode, score, look inside, embed.
export {
  type LoadedEncoder,
  type LoadedEncoderDecoder,
  type LoadedModel,
  loadEncoder,
  loadEncoderDecoder,
  loadModel,
} from "./models/load.ts";
export { definitions } from "./models/index.ts";
export type {
  Definition,
  EncoderDecoderDefinition,
  EncoderDefinition,
  Geometry,
  ModelDefinition,
} from "./models/model.ts";
export { createDecoder, type Decoder } from "./models/decoder.ts";
export { collect, generate, type GenerateOptions, generateText, type Piece } from "./models/generate.ts";
export { type BeamOptions, beamSearch, type Hypothesis } from "./models/beam.ts";
export { bitsPerByte, createScorer, type Scorer, type TextScore } from "./models/score.ts";
export { createInspector, type Inspection, type Inspector } from "./models/inspect.ts";
export { createEmbedder, type Embedder } from "./models/embed.ts";
export { createTextEmbedder, type TextEmbedder } from "./models/embed-texts.ts";

// Methods: attach one to a model, let it observe documents, ask it.
export { methodNamed, methods } from "./methods/index.ts";
export { defineMethod, type MethodDefinition, type MethodDeps, parseMethodOptions } from "./methods/definition.ts";
export type { Document, Method, MethodEvent, MethodState, Receipt, Sampling, Score } from "./methods/method.ts";
export { withAdapter } from "./methods/adapters.ts";
export { attachAdapter, loadAdapter, mergeAdapter, saveAdapter } from "./methods/peft.ts";
export { parseRecipe, pretrain, type Pretrained, type Recipe } from "./methods/pretrain.ts";

// Evaluation: tasks, the loop that fills R[i][j], metrics, reports.
export type { NamedScores, Probe, Task, Topic } from "./eval/task.ts";
export { taskNamed, tasks } from "./eval/tasks/index.ts";
export { textTask } from "./eval/tasks/text.ts";
export { createWorld, drift, edits, type Entity, type Fact, type Gap, type World } from "./eval/tasks/world/world.ts";
export {
  article,
  biography,
  chronicle,
  questionOf,
  twoHopQuestion,
  twoHops,
  unknownQuestion,
  type Voice,
  type WorldQuestion,
} from "./eval/tasks/world/render.ts";
export { readTextFile, type TextFile } from "./checkpoint/text.ts";
export {
  advance,
  evaluateStream,
  noProgress,
  type StreamEvent,
  type StreamProgress,
} from "./eval/harness.ts";
export { type RunMetrics, type StreamSummary, summarize } from "./eval/summary.ts";
export {
  absorbedKnowledge,
  averageScore,
  backwardTransfer,
  type Direction,
  forgetting,
  forgettingPerTopic,
  formulas,
  forwardTransfer,
  type Metrics,
  metricsOf,
  retainedKnowledge,
  type ScoreMatrix,
} from "./eval/metrics.ts";
export { atEqualLearning, baseRetention, computeEfficiency } from "./eval/comparison.ts";
export { interval95 } from "./eval/interval.ts";
export { type Diagnostics, diagnosticsOf, type LayerDrift, type Snapshot } from "./eval/diagnostics.ts";
export { fitDecay } from "./eval/decay.ts";
export { forgettingSentence, learningSentence, renderMatrix } from "./eval/matrix-text.ts";
export { reportHtml } from "./eval/report.ts";
export type { Cost, ReportRun, RunResult } from "./eval/result.ts";

// Runs: an evaluation with a folder, which can stop and go on anywhere.
export { parseStreamConfig, type StreamConfig } from "./runs/config.ts";
export { openRunFolder, type RunFolder } from "./runs/folder.ts";
export { loadReportRun, runStream } from "./runs/run.ts";
export type { RunEvent } from "./runs/events.ts";

// A memory with its ledger, of facts or of documents: written, asked, forgotten, taken back.
export {
  type Asked,
  type Edited,
  type EditOptions,
  type FactMemory,
  openFactMemory,
} from "./runs/fact-memory.ts";
export {
  type AskedDocuments,
  type DocumentMemory,
  type Learned,
  type LearnOptions,
  openDocumentMemory,
} from "./runs/document-memory.ts";
export { openStoredMemory, type StoredMemory } from "./runs/stored-memory.ts";
export { type Memory, type MemoryOptions, openMemory } from "./runs/ledger-memory.ts";
export { exportMemory, importMemory } from "./runs/ledger-archive.ts";
export { type Ledger, openLedger } from "./runs/ledger.ts";
export type { Fact as WrittenFact, FactText, NewFact, WriteReceipt } from "./runs/ledger-fact.ts";
export type { EncodedFact, FactFace, FactIdentity, FactReading } from "./methods/fact-face.ts";
export type { MemoryStore, PlacedFact, StoredFact } from "./memory/memory-store.ts";
