// A run as an object: wait for its result, watch it, cancel it.
// Made by client.ts for an invocation, or for the id of a run that exists.
// Holds no connection while nobody waits or watches.

import type { Client } from "@connectrpc/connect";
import type { Run, WorkflowService } from "../proto/gen/orloj/v1/workflow_pb.ts";
import { RunState } from "../proto/gen/orloj/v1/workflow_pb.ts";
import { isFinal, OrlojError, RunFailedError } from "./errors.ts";
import type { Host } from "./host.ts";
import { type RunSnapshot, watchRun } from "./watch.ts";

/** What a caller may pass to stop waiting. */
export interface WaitOptions {
  /** Ends the waiting, not the run. */
  readonly signal?: AbortSignal;
}

/** See the file header. Output is what the run's workflow is known to give. */
export class RunHandle<Output = unknown> {
  /** "run_…". */
  readonly id: string;
  /** The run as Invoke returned it; undefined for a handle made from an id. */
  readonly invoked: Run | undefined;
  /** True when the idempotency key had been used before: this is the first run. */
  readonly duplicate: boolean;
  readonly #client: Client<typeof WorkflowService>;
  readonly #host: Host;

  constructor(
    client: Client<typeof WorkflowService>,
    host: Host,
    run: { readonly id: string; readonly invoked?: Run; readonly duplicate?: boolean },
  ) {
    this.#client = client;
    this.#host = host;
    this.id = run.id;
    this.invoked = run.invoked;
    this.duplicate = run.duplicate ?? false;
  }

  /** The run as it is now. @throws OrlojError RUN_NOT_FOUND */
  async get(options: WaitOptions = {}): Promise<Run> {
    const { run } = await this.#client.getRun({ runId: this.id }, options).catch(rethrow);
    return run as Run;
  }

  /**
   * Resolves with the run's output once it SUCCEEDED.
   *
   * @typeParam Result what the caller knows better than the handle: `result<{ title: string }>()`.
   * @throws RunFailedError with state and failure when it ended otherwise; OrlojError when it cannot be watched.
   */
  result(options?: WaitOptions): Promise<Output>;
  result<Result extends Output>(options?: WaitOptions): Promise<Result>;
  async result(options: WaitOptions = {}): Promise<Output> {
    let last = this.invoked;
    if (last === undefined || !isFinal(last.state)) {
      for await (const { run } of this.watch(options)) last = run;
    }
    const run = last as Run;
    if (run.state !== RunState.SUCCEEDED) throw new RunFailedError(run);
    return (run.outputJson === "" ? null : JSON.parse(run.outputJson)) as Output;
  }

  /** A snapshot at once, then one after every change, until the run is final. A lost stream is taken up again. */
  watch(options: WaitOptions = {}): AsyncGenerator<RunSnapshot, void, undefined> {
    return watchRun(this.#client, this.id, this.#host, options.signal);
  }

  /**
   * Asks the run to stop and returns it as recorded (CANCELLING); result() then rejects with state CANCELLED.
   *
   * @param reason recorded in the audit trail; at most 1,024 characters.
   * @throws OrlojError RUN_FINISHED, RUN_NOT_FOUND
   */
  async cancel(reason = ""): Promise<Run> {
    const { run } = await this.#client.cancelRun({ runId: this.id, reason }).catch(rethrow);
    return run as Run;
  }
}

function rethrow(error: unknown): never {
  throw OrlojError.from(error);
}
