// Decides whether a dead letter may be replayed in the way that somebody asks for, and what a person has to say first.
// Called by commands/settle_replay.ts and commands/restart_run.ts under the locks of the run, the dead letter and its calls.
// Pure. What nobody knows is not guessed, and what is on record is not repeated unless somebody says so.

/** What is on record about one tool call of the lineage. */
export interface LineageCall {
  readonly requestId: string;
  readonly tool: string;
  readonly state: "granted" | "done" | "failed" | "denied" | "unknown";
  readonly effect: string;
}

/** How a dead letter is to be replayed. */
export interface ReplayRequest {
  /** Another input, or the manifests of now: the task begins anew, with an empty journal and a lineage of its own. */
  readonly anew: boolean;
  /** What is on record may be done again; calls of unknown outcome are sent again with the same key. */
  readonly repeatEffects: boolean;
  /** Calls of unknown outcome that had their effect, as a person found out. */
  readonly results: ReadonlySet<string>;
}

/** What stands against it. */
export type ReplayRefusal =
  /** Nobody knows the outcome of these calls. */
  | { readonly type: "outcome_unknown"; readonly calls: readonly LineageCall[] }
  /** These calls would be made again. */
  | { readonly type: "effects_recorded"; readonly calls: readonly LineageCall[] }
  /** A result was given for calls whose outcome is not unknown. */
  | { readonly type: "not_unknown"; readonly requestIds: readonly string[] };

/** See the file header; undefined: nothing. */
export function refuseReplay(calls: readonly LineageCall[], request: ReplayRequest): ReplayRefusal | undefined {
  const unknown = calls.filter(isUnknown);
  const strange = [...request.results].filter((id) => !unknown.some((call) => call.requestId === id));
  if (strange.length > 0) return { type: "not_unknown", requestIds: strange };
  if (request.repeatEffects) return undefined;
  if (request.anew) {
    const effects = calls.filter((call) => call.effect !== "read" && (call.state === "done" || isUnknown(call)));
    return effects.length === 0 ? undefined : { type: "effects_recorded", calls: effects };
  }
  const undecided = unknown.filter((call) => !request.results.has(call.requestId));
  return undecided.length === 0 ? undefined : { type: "outcome_unknown", calls: undecided };
}

// A write that was granted and never answered is as unknown as one that was judged so: its holder is gone for good.
function isUnknown(call: LineageCall): boolean {
  return call.state === "unknown" || (call.state === "granted" && call.effect !== "read");
}
