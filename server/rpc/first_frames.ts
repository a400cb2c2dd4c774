// What the first bytes of a connection say: which protocol it speaks, and how many streams they open at once.
// Called by port.ts, which has these bytes in its hand before an HTTP/2 server has them: what Node is given in one piece it works through in one
// go, and nobody hears of a stream before the last one is made. What is read later the guard of the session hears of stream by stream.
// Pure; looks at the heads of frames and copies nothing.

/** What every HTTP/2 connection begins with. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const HEAD_BYTES = 9;
const TYPE_AT = 3;
const HEADERS = 1;

/** A protocol that a port may serve. */
export type Protocol = "http1" | "http2";

/** What the first bytes say; undefined while they may still become either. A prefix of the preface that differs is HTTP/1.1. */
export function protocolOf(seen: Buffer): Protocol | undefined {
  const length = Math.min(seen.length, PREFACE.length);
  if (!seen.subarray(0, length).equals(PREFACE.subarray(0, length))) return "http1";
  return length === PREFACE.length ? "http2" : undefined;
}

/** How many HEADERS frames begin in the first bytes of an HTTP/2 connection. */
export function streamsIn(seen: Buffer): number {
  let streams = 0;
  for (let at = PREFACE.length; at + HEAD_BYTES <= seen.length; at += HEAD_BYTES + seen.readUIntBE(at, 3))
    if (seen[at + TYPE_AT] === HEADERS) streams += 1;
  return streams;
}
