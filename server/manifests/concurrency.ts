// The block `concurrency` of a WorkflowTemplate: how many of its runs go on at a time, by what they are counted together, and what
// becomes of the others. Read by workflow_template.ts; the group of a run is that of server/queue/concurrency.ts.
// Never counts anything: commands do, in the database.

import type { JsonObject } from "../../kit/json.ts";
import { DAY, SECOND } from "../../kit/units.ts";
import { checkExpression } from "./expressions.ts";
import { compact, Fields, formatDuration } from "./fields.ts";
import type { ConcurrencySpec } from "./specs.ts";

/** Runs of a group at a time at most, and grants of a tool. */
export const CONCURRENCY_MAX = 10_000;
/** What the key of a group may read. */
export const KEY_VARIABLES: readonly string[] = ["params", "tags"];
/** Bounds of the time that a run may wait for its turn, in ms. */
const QUEUE_TIMEOUT_MS = { min: 1 * SECOND, max: 30 * DAY } as const;

/** Reads the block; undefined if there is none. */
export function readConcurrency(parent: Fields): ConcurrencySpec | undefined {
  const tree = parent.get("concurrency");
  const fields =
    tree && Fields.of(parent.findings, tree, parent.at("concurrency"), ["max", "key", "onLimit", "queueTimeout"]);
  if (fields === undefined) return undefined;
  if (!fields.has("max")) fields.missing("max");
  const max = fields.integer("max", { min: 1, max: CONCURRENCY_MAX }, 1);
  const keyTree = fields.get("key");
  const key = keyTree && checkExpression(fields.findings, keyTree, fields.at("key"), KEY_VARIABLES);
  const onLimit = fields.oneOf("onLimit", ["queue", "reject"], "queue");
  const queueTimeoutMs = fields.has("queueTimeout")
    ? fields.duration("queueTimeout", QUEUE_TIMEOUT_MS, QUEUE_TIMEOUT_MS.max)
    : undefined;
  if (onLimit === "reject" && fields.has("queueTimeout")) {
    const message = "queueTimeout says how long a run waits for its turn, and with onLimit: reject none does";
    const hint = "remove it, or set onLimit: queue";
    fields.findings.error("E-VALUE", fields.positionOf("queueTimeout"), fields.at("queueTimeout"), message, hint);
  }
  return {
    max,
    ...(key !== undefined && { key }),
    onLimit,
    ...(queueTimeoutMs !== undefined && { queueTimeoutMs }),
  };
}

/** The block as its manifest would say it. */
export function concurrencyJson({ max, key, onLimit, queueTimeoutMs }: ConcurrencySpec): JsonObject {
  return compact({
    ...{ max, key, onLimit },
    queueTimeout: queueTimeoutMs === undefined ? undefined : formatDuration(queueTimeoutMs),
  });
}
