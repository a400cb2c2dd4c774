// The transport under every client: token, a deadline for each unary call, idempotency keys, and bounded blind retries.
// Called by client.ts; the raw clients and the ergonomic layer share it, so the same rules hold for both.
// Retries only what is Unavailable: any other code is the server's answer. Streams are never retried here (see watch.ts).

import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { isConnectionLost } from "./errors.ts";
import { type Host, type RetryDelay, retryDelayMs } from "./host.ts";

/** Tries of one unary call at most, the first one included. */
export const TRIES_MAX = 3;
const RETRY_DELAY: RetryDelay = { initialMs: 100, maxMs: 2_000, factor: 4 };
// The server refuses larger messages too; without a limit a client would buffer up to 4 GiB.
const READ_BYTES_MAX = 64 * 1_024 * 1_024;
// A repeat after a lost answer would be told that the thing is gone already, or make a second token beside one that nobody has.
const NOT_REPEATABLE: ReadonlySet<string> = new Set(["DeleteResource", "RevokeLease", "CreateToken"]);

/** Certificates for TLS; all of them PEM text. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** How to reach the server. */
export interface ConnectionOptions {
  /** Base URL, such as "http://127.0.0.1:7601". */
  readonly endpoint: string;
  /** Bearer token, or a function that returns the current one. */
  readonly token?: string | (() => string | Promise<string>);
  readonly tls?: TlsOptions;
  /** "1.1" by default: every call stands alone, and a server that restarts breaks none but those under way. */
  readonly httpVersion?: "1.1" | "2";
}

/** Connects to a server with the Connect protocol. */
export function connectTransport(options: ConnectionOptions): Transport {
  return createConnectTransport({
    baseUrl: options.endpoint,
    httpVersion: options.httpVersion ?? "1.1",
    readMaxBytes: READ_BYTES_MAX,
    interceptors: options.token === undefined ? [] : [bearer(options.token)],
    ...(options.tls === undefined ? {} : { nodeOptions: { ...options.tls } }),
  });
}

function bearer(token: string | (() => string | Promise<string>)): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
    return next(request);
  };
}

/**
 * Adds deadlines, idempotency keys and retries to a transport.
 *
 * @param callTimeoutMs deadline of one try of a unary call that names none.
 */
export function resilientTransport(inner: Transport, host: Host, callTimeoutMs: number): Transport {
  return {
    stream: (method, signal, timeoutMs, header, input, values) =>
      inner.stream(method, signal, timeoutMs, header, input, values),
    async unary(method, signal, timeoutMs, header, input, values) {
      const message = withIdempotencyKeys(method, input, host);
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await inner.unary(method, signal, timeoutMs ?? callTimeoutMs, header, message, values);
        } catch (error) {
          if (attempt >= TRIES_MAX || signal?.aborted || !isRetryable(method, error)) throw error;
          await host.sleep(retryDelayMs(RETRY_DELAY, attempt, host), signal);
          if (signal?.aborted) throw error;
        }
      }
    },
  };
}

function isRetryable(method: DescMethodUnary, error: unknown): boolean {
  const failure = ConnectError.from(error);
  if (failure.code === Code.Unavailable) return true;
  return isConnectionLost(failure) && !NOT_REPEATABLE.has(method.name);
}

// The key is fixed before the first try: a retry whose first answer was lost finds the run that it made.
function withIdempotencyKeys<I extends DescMessage>(
  method: DescMethodUnary<I>,
  input: MessageInitShape<I>,
  host: Host,
): MessageInitShape<I> {
  if (method.parent.typeName !== "orloj.v1.WorkflowService") return input;
  if (method.name === "Invoke") return withKey(input as object, host) as MessageInitShape<I>;
  if (method.name !== "InvokeBatch") return input;
  const batch = input as { items?: readonly object[] };
  const items = (batch.items ?? []).map((item) => withKey(item, host));
  return { ...batch, items } as object as MessageInitShape<I>;
}

function withKey(item: { idempotencyKey?: string }, host: Host): object {
  return item.idempotencyKey ? item : { ...item, idempotencyKey: host.uniqueKey() };
}
