// Gathers invocations made in the same turn of the event loop into one InvokeBatch, each with its own answer.
// Called by client.ts. A lone invocation stays a unary Invoke.
// A batch that is refused as a whole, for size or form, is sent again item by item: the keys are fixed, so nothing starts twice.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type {
  InvokeBatchError,
  InvokeRequestSchema,
  InvokeResponse,
  WorkflowService,
} from "../proto/gen/orloj/v1/workflow_pb.ts";
import { OrlojError } from "./errors.ts";

/** Invocations in one batch at most. */
export const BATCH_MAX = 100;
/** Parameter text in one batch at most, in UTF-16 code units; more goes into the next batch. */
export const BATCH_CHARS_MAX = 1_048_576;

/** An invocation with its key. */
export type Invocation = MessageInitShape<typeof InvokeRequestSchema> & {
  readonly parametersJson: string;
  readonly idempotencyKey: string;
};

interface Waiting {
  readonly item: Invocation;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (response: InvokeResponse) => void;
  readonly reject: (error: unknown) => void;
}

// Whole-batch refusals that another cut of the batch may answer differently.
const SPLIT_CODES: ReadonlySet<Code> = new Set([Code.InvalidArgument, Code.ResourceExhausted, Code.Unimplemented]);
const CODES = new Map<string, Code>(
  Object.entries(Code)
    .filter((entry): entry is [string, Code] => typeof entry[1] === "number")
    .map(([name, code]) => [name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toLowerCase(), code]),
);

/** See the file header. */
export class InvokeBatcher {
  readonly #client: Client<typeof WorkflowService>;
  readonly #batchMax: number;
  #waiting: Waiting[] = [];
  #scheduled = false;

  /** @param batchMax invocations in one batch; 1 sends each alone. */
  constructor(client: Client<typeof WorkflowService>, batchMax: number = BATCH_MAX) {
    this.#client = client;
    this.#batchMax = Math.max(1, Math.min(batchMax, BATCH_MAX));
  }

  /**
   * Resolves with the item's own answer.
   *
   * @throws OrlojError that the server gave this item. An abort rejects at once; what was sent by then may still start.
   */
  add(item: Invocation, signal?: AbortSignal): Promise<InvokeResponse> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(aborted(signal));
      const onAbort = () => reject(aborted(signal));
      signal?.addEventListener("abort", onAbort, { once: true });
      const settled = () => signal?.removeEventListener("abort", onAbort);
      this.#waiting.push({
        item,
        signal,
        resolve: (response) => {
          settled();
          resolve(response);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      const waiting = this.#waiting.filter((one) => !one.signal?.aborted);
      this.#waiting = [];
      for (const batch of cut(waiting, this.#batchMax)) void this.#send(batch);
    });
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const only = batch[0];
    if (batch.length === 1 && only !== undefined) return this.#sendAlone(only);
    try {
      const { results } = await this.#client.invokeBatch({ items: batch.map((one) => one.item) });
      batch.forEach((one, index) => {
        const result = results[index]?.result;
        if (result?.case === "response") one.resolve(result.value);
        else if (result?.case === "error") one.reject(itemError(result.value));
        else
          one.reject(
            new OrlojError("the server left this item unanswered", { reason: "INTERNAL", code: Code.Internal }),
          );
      });
    } catch (error) {
      if (SPLIT_CODES.has(ConnectError.from(error).code)) {
        await Promise.all(batch.map((one) => this.#sendAlone(one)));
        return;
      }
      for (const one of batch) one.reject(OrlojError.from(error));
    }
  }

  async #sendAlone(one: Waiting): Promise<void> {
    try {
      const options = one.signal === undefined ? {} : { signal: one.signal };
      const response = await this.#client.invoke(one.item, options);
      one.resolve(response);
    } catch (error) {
      one.reject(OrlojError.from(error));
    }
  }
}

function cut(waiting: readonly Waiting[], batchMax: number): Waiting[][] {
  const batches: Waiting[][] = [];
  let chars = 0;
  for (const one of waiting) {
    const last = batches.at(-1);
    chars += one.item.parametersJson.length;
    if (last === undefined || last.length >= batchMax || chars > BATCH_CHARS_MAX) {
      batches.push([one]);
      chars = one.item.parametersJson.length;
    } else last.push(one);
  }
  return batches;
}

function itemError(error: InvokeBatchError): OrlojError {
  return new OrlojError(error.message, {
    reason: error.info?.reason || error.code.toUpperCase(),
    code: CODES.get(error.code) ?? Code.Unknown,
    metadata: error.info?.metadata ?? {},
  });
}

function aborted(signal: AbortSignal | undefined): OrlojError {
  return new OrlojError("the invocation was aborted by its signal", {
    reason: "ABORTED_BY_CALLER",
    code: Code.Canceled,
    cause: signal?.reason,
  });
}
