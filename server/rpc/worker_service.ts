// WorkerService: pumps frames between one worker stream and its ConnectedWorker, and knows nothing of their meaning.
// Called by Connect; wired by listeners.ts on the worker listener alone.
// Never takes the end of a stream for a goodbye: a half-close, a cancel and a lost connection all look alike here, so
// closed() is called for each and dispatch decides by the frames it saw.

import type { ServiceImpl } from "@connectrpc/connect";
import type { Clock } from "../../kit/clock.ts";
import type { Rate } from "../../kit/token_bucket.ts";
import type { SessionRequest, SessionResponse, WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { ConnectedWorker } from "../dispatch/connected_worker.ts";
import { endedKey, hangUpKey, oldAgeKey, peerKey, principalOf } from "./call_context.ts";
import { brokenFrame } from "./error_map.ts";
import { paced } from "./paced.ts";
import { untilAborted } from "./until_aborted.ts";

/** The service over the worker streams of dispatch. unreadMs: how long a worker may leave a frame unread; rate: at which it may send them. */
export function workerService(
  controlPlane: Pick<ControlPlane, "connectWorker">,
  clock: Clock,
  { unreadMs, rate }: { readonly unreadMs: number; readonly rate: Rate },
): ServiceImpl<typeof WorkerService> {
  return {
    async *session(requests, context): AsyncGenerator<SessionResponse> {
      const worker = controlPlane.connectWorker(principalOf(context), context.values.get(peerKey).name);
      const failed = new AbortController();
      const signal = AbortSignal.any([context.signal, failed.signal, context.values.get(endedKey).signal]);
      const onOldAge = () => worker.moveOn();
      const oldAge = context.values.get(oldAgeKey);
      oldAge?.addEventListener("abort", onOldAge, { once: true });
      const receiving = receive(worker, paced(requests, clock, rate), signal).catch((error: unknown) => {
        const broken = brokenFrame(error);
        if (broken !== undefined) worker.closed(broken);
        failed.abort(error);
      });
      try {
        for await (const frame of untilAborted(worker.outgoing(signal), signal)) {
          // Connect asks for the next frame when this one is written: that is the back-pressure on dispatch. While it waits
          // here nothing else can end the stream, hence the timer.
          const cancel = clock.after(unreadMs, context.values.get(hangUpKey));
          try {
            yield frame;
          } finally {
            cancel();
          }
        }
        // A stream that dispatch ended because of the abort ends with the reason, not with OK.
        signal.throwIfAborted();
      } finally {
        oldAge?.removeEventListener("abort", onOldAge);
        worker.closed();
        failed.abort();
        await receiving;
      }
    },
  };
}

// One frame at a time: the next is read when dispatch took the last, so HTTP/2 flow control reaches the worker.
async function receive(
  worker: ConnectedWorker,
  requests: AsyncIterable<SessionRequest>,
  signal: AbortSignal,
): Promise<void> {
  for await (const frame of untilAborted(requests, signal)) await worker.receive(frame);
  // The worker says nothing more; what is under way may still be acknowledged before outgoing ends.
  worker.closed();
}
