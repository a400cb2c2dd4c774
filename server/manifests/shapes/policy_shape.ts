// The shape of kind Policy, and of the conditions in it.
// Called by kinds.ts of this folder. The rules are those of ../policy.ts and ../policy_condition.ts.

import { DAY, MINUTE } from "../../../kit/units.ts";
import { KEYED_MATCHERS, LIST_MATCHERS } from "../policy_condition.ts";
import { CHECKPOINTS } from "../specs.ts";
import {
  duration,
  exactlyOne,
  label,
  list,
  map,
  mapOf,
  type Shape,
  shared,
  text,
  texts,
  when,
  whole,
  word,
} from "./shape.ts";

const ATTACHMENT_KINDS = ["Tool", "Agent", "AgentSystem", "WorkflowTemplate", "Namespace"];
const NESTED = "A condition: exactly one of all, any, not, match, time, cel, exists, policyRef.";

function valuesOf(kind: readonly string[] | "name" | "text"): Shape {
  if (kind === "text") return { type: "string" };
  return kind === "name" ? label("A name.") : word("A value.", kind);
}

const MATCH = map("Every attribute has one of its values.", {
  ...Object.fromEntries(
    Object.entries(LIST_MATCHERS).map(([path, kind]) => [path, list(`Values of ${path}.`, valuesOf(kind), { min: 1 })]),
  ),
  ...Object.fromEntries(
    KEYED_MATCHERS.map((path) => [
      path,
      mapOf(`Values of ${path}, by key.`, list("Values.", { type: "string" }, { min: 1 }), { minProperties: 1 }),
    ]),
  ),
});

const WINDOW: Shape = {
  description: "A window that comes again (cron, duration, timeZone), or one between two instants (from, to).",
  anyOf: [
    map(
      "A window that comes again.",
      {
        cron: text("Five fields, on the wall clock of the zone."),
        duration: text("How long it lasts, 1m to 31d.", { pattern: "^[0-9]{1,9}(ms|s|m|h|d)$" }),
        timeZone: text("IANA zone, such as Europe/Prague."),
      },
      ["cron", "duration", "timeZone"],
    ),
    map(
      "A window between two instants.",
      { from: text("First instant, RFC 3339."), to: text("Instant at which it is over, RFC 3339.") },
      ["from", "to"],
    ),
  ],
};

/** A condition; it may hold others. */
export const CONDITION: Shape = map(
  NESTED,
  {
    all: list("True if all of these are.", shared("Condition", NESTED), { min: 1 }),
    any: list("True if one of these is.", shared("Condition", NESTED), { min: 1 }),
    not: shared("Condition", "True if this is false."),
    match: { ...MATCH, minProperties: 1 },
    time: map("True if now is in one of the windows.", { in: list("Windows.", WINDOW, { min: 1 }) }, ["in"]),
    cel: text("CEL over requester, agent, tool, args, workflow, run, context, chain, now."),
    exists: text("Path of the document that must have a value, such as context.tags.ticket."),
    policyRef: label("Library policy that must pass."),
  },
  [],
  [exactlyOne(["all", "any", "not", "match", "time", "cel", "exists", "policyRef"])],
);

/** The spec of a Policy. */
export const POLICY_SPEC: Shape = {
  ...map(
    "Who may do what.",
    {
      description: text("What the policy is for.", { default: "" }),
      mode: word(
        "enforce decides; observe is evaluated and recorded, and never decides.",
        ["enforce", "observe"],
        "enforce",
      ),
      attachTo: list(
        "What it guards; an empty list makes a library policy, which others use.",
        map(
          "A resource by name or by labels; with both, both must fit.",
          {
            kind: word("Kind of what is guarded.", ATTACHMENT_KINDS),
            name: label("Its name. Needed unless there is a selector."),
            selector: { ...texts("Labels that it must have. Not of namespaces."), minProperties: 1 },
          },
          ["kind"],
          [
            { anyOf: [{ required: ["name"] }, { required: ["selector"] }] },
            when("kind", "Namespace", { properties: { selector: false } }),
          ],
        ),
      ),
      checkpoints: list(
        "When it is decided. Absent: wherever its attachments reach and everything it reads exists.",
        word("A checkpoint.", CHECKPOINTS),
        { min: 1 },
      ),
      allow: shared("Condition", "Passes only if this is true. Absent: true. One of allow and deny is there."),
      deny: shared("Condition", "Passes only if this is false. Absent: false."),
      limits: list(
        "How often something may happen.",
        map(
          "At most `max` times in a window for each value of the key.",
          {
            name: label("Name, for its counter."),
            key: list(
              "Paths of the document whose values are counted apart; none: all together.",
              { type: "string" },
              { max: 8 },
            ),
            max: whole("How often.", { min: 1, max: 1_000_000_000 }),
            window: duration("Length of a window.", { min: MINUTE, max: 31 * DAY }),
          },
          ["name", "key", "max", "window"],
        ),
        { max: 8 },
      ),
      message: text("Shown to the requester when this policy denies.", { default: "" }),
    },
    ["attachTo"],
  ),
  anyOf: [{ required: ["allow"] }, { required: ["deny"] }],
};
