// The error of one item of a batch: as a whole call would answer it, but beside the results of the others.
// Called by the services whose methods answer item by item.

import type { HandlerContext } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { ErrorInfo } from "../../proto/gen/orloj/v1/error_pb.ts";
import type { Logger } from "../telemetry/log.ts";
import { errorInfoOf } from "./error_map.ts";
import { reportFailure } from "./failures.ts";

/** Code, message and reason of an error that one item met; an unexpected one goes to the log. */
export function itemError(
  error: unknown,
  context: HandlerContext,
  log: Logger,
): { code: string; message: string; info?: ErrorInfo } {
  const mapped = reportFailure(log, context.method, error);
  const info = errorInfoOf(mapped);
  return { code: codeToString(mapped.code), message: mapped.rawMessage, ...(info && { info }) };
}
