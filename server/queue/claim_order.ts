// The one number by which ready tasks are claimed: lower first. One index carries priorities without starvation.
// Called by commands when a task becomes READY.
// A class is worth a head start of 30 s: a waiting low task is overtaken only by what arrives within that time.

import { SECOND } from "../../kit/units.ts";
import type { WorkflowTemplateSpec } from "../manifests/specs.ts";

/** Head start of one priority class, in ms. */
export const CLASS_HEAD_START_MS = 30 * SECOND;

const CLASSES: Record<WorkflowTemplateSpec["priority"], number> = { high: 1, normal: 0, low: -1 };

/**
 * Claim order of a task.
 *
 * @param enqueueMs database time at which it became READY, ms since the epoch.
 */
export function claimOrder(enqueueMs: number, priority: WorkflowTemplateSpec["priority"]): number {
  return enqueueMs - CLASSES[priority] * CLASS_HEAD_START_MS;
}
