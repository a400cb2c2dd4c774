// What the parts of the sandbox give each other: a request that was read, an answer, and the counters of effects.
// Used by service.ts, which speaks HTTP, and by the parts behind it, which do not.

/** A request, read and authenticated. */
export interface Asked {
  readonly method: string;
  /** Segments of the path, decoded. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly body: Readonly<Record<string, unknown>>;
}

/** An answer. */
export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The effect happens, and the connection ends before the answer: the caller cannot know. */
  readonly lost?: boolean;
}

/** What the service did, by its own count. */
export interface Effects {
  restarts: number;
  tickets: number;
  deployments: number;
  rollbacks: number;
  refunds: number;
  /** Requests that repeated the Idempotency-Key of an earlier one and had no effect of their own. */
  repeated: number;
  /** Webhook deliveries with a good signature, each id once. */
  notices: number;
  /** Webhook deliveries that were refused: no signature, a wrong one, or an old one. */
  forged: number;
}

/** Counters at nothing. */
export function noEffects(): Effects {
  return {
    ...{ restarts: 0, tickets: 0, deployments: 0, rollbacks: 0, refunds: 0 },
    ...{ repeated: 0, notices: 0, forged: 0 },
  };
}

/** An answer that says what is wrong. */
export function refusal(status: number, error: string): Reply {
  return { status, body: { error } };
}
