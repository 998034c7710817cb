/** The far side of `workerHost`: holds the sessions, answers one message per request. */
import { parentPort } from "node:worker_threads";
import { internal, UserError } from "../errors.ts";
import { createSession, type HostTensors, isShared, type Session, type SessionOptions } from "./session.ts";
import { sumArrays } from "./sum.ts";

export type Request =
  | { readonly kind: "create"; readonly model: Uint8Array; readonly options: SessionOptions }
  | {
      readonly kind: "run";
      readonly session: number;
      readonly feeds: HostTensors;
      readonly outputs: readonly string[];
      readonly into: HostTensors;
    }
  | { readonly kind: "release"; readonly session: number }
  | { readonly kind: "sum"; readonly target: Float32Array; readonly parts: readonly Float32Array[] };

/** A request's number; that of a create request names its session from then on. */
export interface Envelope {
  readonly id: number;
  readonly request: Request;
}

export type Reply =
  | { readonly id: number; readonly results: HostTensors }
  | { readonly id: number; readonly error: { readonly user: boolean; readonly message: string } };

const port = parentPort ?? internal("worker-thread.ts runs in a worker only");
const sessions = new Map<number, Session>();

async function answer({ id, request }: Envelope): Promise<HostTensors> {
  if (request.kind === "create") {
    sessions.set(id, await createSession(request.model, request.options));
    return {};
  }
  if (request.kind === "sum") {
    sumArrays(request.target, request.parts);
    return {};
  }
  const session = sessions.get(request.session) ?? internal("runtime: the session was released");
  if (request.kind === "run") return session.run(request.feeds, request.outputs, request.into);
  sessions.delete(request.session);
  await session.release();
  return {};
}

port.on("message", async (envelope: Envelope) => {
  const { id } = envelope;
  try {
    const results = await answer(envelope);
    const buffers = Object.values(results)
      .filter((tensor) => !isShared(tensor))
      .map(({ data }) => data.buffer as ArrayBuffer);
    port.postMessage({ id, results } satisfies Reply, [...new Set(buffers)]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ id, error: { user: error instanceof UserError, message } } satisfies Reply);
  }
});
