// The shape of kind WorkflowTemplate.
// Called by kinds.ts of this folder. The rules are those of ../workflow_template.ts and ../concurrency.ts.

import { DAY, HOUR, SECOND } from "../../../kit/units.ts";
import { CONCURRENCY_MAX } from "../concurrency.ts";
import { GRACE_MS, GRACE_MS_MIN, RETENTION_MS, RUN_TIMEOUT_MS } from "../workflow_template.ts";
import { retry } from "./retry_shape.ts";
import { duration, flag, keys, label, map, mapOf, schema, template, text, when, whole, word } from "./shape.ts";

const TAG = map(
  "Where the value of a tag comes from.",
  {
    from: word("claim: of the authenticated caller. template: written here. request: the caller's word.", [
      "claim",
      "template",
      "request",
    ]),
    claim: text("With claim: its name."),
    value: text("With template: the value."),
    required: flag("With claim and request: without a value the invocation is refused.", false),
  },
  ["from"],
  [
    when("from", "claim", keys(["claim"], ["value"])),
    when("from", "template", keys(["value"], ["claim", "required"])),
    when("from", "request", keys([], ["claim", "value"])),
  ],
);

/** The spec of a WorkflowTemplate. */
export const WORKFLOW_SPEC = map(
  "How a system is invoked: parameters, tags, timeout, retry.",
  {
    description: text("What the workflow is for.", { default: "" }),
    system: label("AgentSystem that it runs."),
    parameters: {
      ...schema("JSON Schema of what Invoke takes: an object. Absent: any object."),
      required: ["type"],
      properties: { type: { const: "object" } },
    },
    input: template("Input of the system; a template over params and tags. Absent: the parameters."),
    output: map("What the result must be.", { schema: schema("JSON Schema that the result must fit.") }),
    tags: mapOf("Values that policies can trust as far as their source, by name.", TAG, {
      propertyNames: { pattern: "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$" },
    }),
    timeout: duration(
      "Time of a run, from RUNNING; then it is cancelled and ends TIMED_OUT.",
      { min: 1 * SECOND, max: 30 * DAY },
      RUN_TIMEOUT_MS,
    ),
    cancellation: map("How a run is stopped.", {
      grace: duration("Time that running tasks get to stop.", { min: GRACE_MS_MIN, max: 1 * HOUR }, GRACE_MS),
    }),
    retry: retry("Retry of agents without their own.", "task"),
    priority: word(
      "Head start of its tasks in the queue: 30 seconds for each step.",
      ["low", "normal", "high"],
      "normal",
    ),
    concurrency: map(
      "How many of its runs go on at a time. Absent: any number.",
      {
        max: whole("Runs of a group that go on at a time.", { min: 1, max: CONCURRENCY_MAX }),
        key: text("CEL over params and tags: runs with equal values are a group. Absent: all runs are one."),
        onLimit: word("A run beyond max waits for its turn, or Invoke fails.", ["queue", "reject"], "queue"),
        queueTimeout: duration("With queue: how long a run may wait before it begins. Absent: without end.", {
          min: 1 * SECOND,
          max: 30 * DAY,
        }),
      },
      ["max"],
      [when("onLimit", "reject", keys([], ["queueTimeout"]))],
    ),
    retention: map("How long finished runs are kept. Absent: as the server says.", {
      runs: duration("A finished run, with its tasks, journal, and ledger.", RETENTION_MS),
      deadLetters: duration(
        "A finished run with a dead letter, at least, from when the task was parked.",
        RETENTION_MS,
      ),
    }),
  },
  ["system"],
);
