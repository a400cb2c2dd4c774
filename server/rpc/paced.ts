// The messages of a stream at the pace that it may have: a few in one turn of the event loop, and no more than its rate in a second.
// Used by worker_service.ts and reflection.ts, the streams that a caller writes to: thousands of messages fit into one read of a socket, and
// would be handled without a look at anybody else.
// Never drops one: what is not taken yet waits in the caller's own HTTP/2 window.

import type { Clock } from "../../kit/clock.ts";
import { type Rate, TokenBucket } from "../../kit/token_bucket.ts";

/** Messages of one stream in one turn of the event loop: about a millisecond. */
const TURN_MAX = 32;

/** See the file header. */
export async function* paced<T>(items: AsyncIterable<T>, clock: Clock, rate: Rate): AsyncGenerator<T, void> {
  const bucket = new TokenBucket(rate, clock.monotonic());
  let inTurn = 0;
  for await (const item of items) {
    const waitMs = bucket.owe(clock.monotonic());
    inTurn += 1;
    if (waitMs >= 1) await clock.sleep(waitMs);
    else if (inTurn % TURN_MAX === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    yield item;
  }
}
