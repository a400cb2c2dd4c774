// The interceptor around every handler: maps what it throws and logs what an operator must know.
// Wired by rpc_handler.ts. Runs inside the gate of authentication.ts, which reports its own failures through reportFailure.
// Never logs what callers do wrong above debug: refusals are in the audit trail, bad requests are the caller's to read.

import type { DescMethod } from "@bufbuild/protobuf";
import { Code, type ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Logger } from "../telemetry/log.ts";
import { toConnectError } from "./error_map.ts";
import { methodName } from "./rights.ts";

/** Maps an error for the wire and logs it as its code asks: Internal is ours (error), Unavailable is trouble (warn). */
export function reportFailure(log: Logger, method: DescMethod, error: unknown): ConnectError {
  const mapped = toConnectError(error);
  const fields = { method: methodName(method), error };
  if (mapped.code === Code.Internal || mapped.code === Code.Unknown) log.error("rpc.failed", fields);
  else if (mapped.code === Code.Unavailable) log.warn("rpc.unavailable", fields);
  else log.debug("rpc.refused", { method: fields.method, code: Code[mapped.code], message: mapped.rawMessage });
  return mapped;
}

/** The interceptor; see the file header. */
export function createFailureInterceptor(log: Logger): Interceptor {
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: mapped(response.message, (error) => reportFailure(log, request.method, error)) };
    } catch (error) {
      throw reportFailure(log, request.method, error);
    }
  };
}

async function* mapped<T>(items: AsyncIterable<T>, map: (error: unknown) => ConnectError): AsyncGenerator<T, void> {
  try {
    yield* items;
  } catch (error) {
    throw map(error);
  }
}
