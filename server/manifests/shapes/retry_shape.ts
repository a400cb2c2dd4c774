// The shape of a `retry` block, which agents, tools, and workflows share.
// Called by their shapes. The rules are those of ../retry.ts.

import { HOUR } from "../../../kit/units.ts";
import { TASK_CLASSES, TASK_RETRY, TOOL_CLASSES } from "../retry.ts";
import { duration, list, map, number, type Shape, text, whole, word } from "./shape.ts";

/** A retry block. @param on what fails in which classes; absent: a task, whose agent may name classes of its own */
export function retry(description: string, of: "task" | "tool"): Shape {
  const { backoff, maxAttempts, on } = TASK_RETRY;
  const tool = word("A class in which a tool call can fail.", TOOL_CLASSES);
  const task = text(`A class such as ${TASK_CLASSES.slice(0, 4).join(", ")}, or one that an agent's code names.`, {
    pattern: "^[A-Z][A-Za-z0-9]{0,63}$",
    examples: [...TASK_CLASSES],
  });
  return map(description, {
    on: {
      ...list("Failure classes that are tried again.", of === "tool" ? tool : task),
      ...(of === "task" && { default: [...on] }),
    },
    maxAttempts: whole("Attempts in all, the first one included.", { min: 1, max: 100 }, maxAttempts),
    backoff: map("How long to wait before the next attempt.", {
      initial: duration("Wait after the first attempt.", { min: 0, max: HOUR }, backoff.initialMs),
      max: duration("Longest wait; at least `initial`.", { min: 0, max: 24 * HOUR }, backoff.maxMs),
      factor: number("By what the wait grows from attempt to attempt.", { min: 1, max: 100 }, backoff.factor),
      jitter: word(
        "full: a random time between 0 and the wait. none: the wait itself.",
        ["full", "none"],
        backoff.jitter,
      ),
    }),
  });
}
