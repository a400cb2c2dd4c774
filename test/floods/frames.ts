// HTTP/2 frames as bytes, right or wrong: what no client library would write. Called by the attacks.
// Header blocks are HPACK literals without indexing and without Huffman coding (RFC 7541, 6.2.2).

/** What an HTTP/2 connection begins with. */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const ACK = 0x1;
const TYPES = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8, continuation: 9 } as const;

/** Codes of settings. */
export const SETTING = { initialWindow: 4 } as const;
const CANCEL = 8;

/** A frame with its 9 bytes in front. */
export function frame(
  type: keyof typeof TYPES,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(TYPES[type], 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function settings(values: Readonly<Record<number, number>> = {}): Buffer {
  const payload = Buffer.concat(
    Object.entries(values).map(([code, value]) => {
      const one = Buffer.alloc(6);
      one.writeUInt16BE(Number(code));
      one.writeUInt32BE(value, 2);
      return one;
    }),
  );
  return frame("settings", 0, 0, payload);
}

/** What a client says first. */
export function greeting(values: Readonly<Record<number, number>> = {}): Buffer {
  return Buffer.concat([PREFACE, settings(values)]);
}

export function reset(stream: number): Buffer {
  return frame("reset", 0, stream, uint32(CANCEL));
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame("window", 0, stream, uint32(increment));
}

export function ping(): Buffer {
  return frame("ping", 0, 0, Buffer.alloc(8, 1));
}

/** A header block. */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** The headers of a gRPC call. */
export function callHeaders(path: string, authority: string, more: Readonly<Record<string, string>> = {}): Buffer {
  return headerBlock({
    ...{ ":method": "POST", ":scheme": "http", ":path": path, ":authority": authority },
    ...{ "content-type": "application/grpc", te: "trailers", ...more },
  });
}

/** A message of gRPC with its 5 bytes in front. */
export function message(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

// A length of 7 bits, and its continuation (RFC 7541, 5.1).
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  for (let rest = bytes.length - 127; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      length.push(rest);
      break;
    }
    length.push((rest % 128) + 128);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}
