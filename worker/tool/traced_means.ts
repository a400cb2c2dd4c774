// The means of a call with the trace that it is part of: a header where the call is a request, a variable where it is a process.
// Called by agent/tool_call.ts for what was granted. What a manifest declares itself is left as it is; a database has no place for one.
// A webhook's signature does not cover its headers, so that it stays as it was signed.

import type { ToolMeans } from "./executor.ts";

const HEADER = "traceparent";
const VARIABLE = "TRACEPARENT";

/** See the file header. @param traceparent W3C trace context; undefined: the means as they are */
export function tracedMeans(means: ToolMeans, traceparent: string | undefined): ToolMeans {
  if (traceparent === undefined) return means;
  switch (means.kind) {
    case "http":
    case "webhook":
      return { ...means, headers: withHeader(means.headers, traceparent) };
    case "command":
      return { ...means, env: { [VARIABLE]: traceparent, ...means.env } };
    case "mcp": {
      const { server } = means;
      return server.kind === "remote"
        ? { ...means, server: { ...server, headers: withHeader(server.headers, traceparent) } }
        : { ...means, server: { ...server, env: { [VARIABLE]: traceparent, ...server.env } } };
    }
    case "database":
      return means;
  }
}

function withHeader(headers: Readonly<Record<string, string>>, traceparent: string): Record<string, string> {
  const declared = Object.keys(headers).some((name) => name.toLowerCase() === HEADER);
  return declared ? headers : { ...headers, [HEADER]: traceparent };
}
