// One worker stream as dispatch sees it: the seam between rpc and dispatch.
// Implemented by worker_session.ts; rpc/worker_service.ts pumps frames in and out and knows nothing of their meaning.

import type { SessionRequest, SessionResponse } from "../../proto/gen/orloj/v1/worker_pb.ts";

/** One worker stream. */
export interface ConnectedWorker {
  /**
   * Takes a frame. Resolves when the next one may be read (back-pressure).
   *
   * @throws DomainError PROTOCOL_VIOLATION for an out-of-phase frame: the stream is ended with that error.
   */
  receive(frame: SessionRequest): Promise<void>;
  /** Frames for the worker, until the session ends. Bounded: a worker that does not read is closed. */
  outgoing(signal: AbortSignal): AsyncIterable<SessionResponse>;
  /** The connection has become old: asks the worker to take its session to another one, which it does without a pause. */
  moveOn(): void;
  /**
   * The stream ended: politely only if a Goodbye frame came before. Idempotent.
   *
   * @param violation what was wrong with the frame that ended it; absent: none did.
   */
  closed(violation?: string): void;
}
