// The interceptor around every handler: maps what it throws, logs what an operator must know, and has missing rights recorded.
// Wired by rpc_handler.ts. Runs inside the gate of authentication.ts, which reports its own failures through reportFailure.
// Never logs what callers do wrong above debug: refusals are in the audit trail, bad requests are the caller's to read.

import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { messageOf } from "../../kit/errors.ts";
import { traceContextIn } from "../../kit/trace.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { Logger } from "../telemetry/log.ts";
import { errorInfoOf, toConnectError } from "./error_map.ts";
import { recordIfDenied } from "./refusals.ts";
import { methodName } from "./rights.ts";

/**
 * Maps an error for the wire and logs it, with the trace of the caller, as its code asks: Internal is ours (error), Unavailable is trouble (warn).
 *
 * @param call.peerGone the call ended because its connection did: that is nobody's failure, whatever its code.
 */
export function reportFailure(
  log: Logger,
  method: DescMethod,
  error: unknown,
  { header, peerGone = false }: { readonly header?: Headers; readonly peerGone?: boolean } = {},
): ConnectError {
  const mapped = toConnectError(error);
  const trace = traceContextIn(header?.get("traceparent"))?.traceId;
  const called = { method: methodName(method), ...(trace !== undefined && { trace }) };
  const fields = { ...called, error };
  if (peerGone) log.debug("rpc.peer_gone", { ...called, why: messageOf(error) });
  else if (mapped.code === Code.Internal || mapped.code === Code.Unknown) log.error("rpc.failed", fields);
  else if (mapped.code === Code.Unavailable) log.warn("rpc.unavailable", fields);
  else log.debug("rpc.refused", { ...called, code: Code[mapped.code], message: mapped.rawMessage });
  return mapped;
}

/** The interceptor; see the file header. */
export function createFailureInterceptor(log: Logger, recorder: Pick<ControlPlane, "recordRefusal">): Interceptor {
  return (next) => async (request) => {
    const report = async (error: unknown) => {
      await recordIfDenied(recorder, { values: request.contextValues }, methodName(request.method), error);
      const { aborted, reason } = request.signal;
      const ours = reason instanceof ConnectError && errorInfoOf(reason) !== undefined;
      const peerGone = aborted && error === reason && !ours;
      return reportFailure(log, request.method, error, { header: request.header, peerGone });
    };
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: mapped(response.message, report) } : response;
    } catch (error) {
      throw await report(error);
    }
  };
}

async function* mapped<T>(
  items: AsyncIterable<T>,
  map: (error: unknown) => Promise<ConnectError>,
): AsyncGenerator<T, void> {
  try {
    yield* items;
  } catch (error) {
    throw await map(error);
  }
}
