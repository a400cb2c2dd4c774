// Rows for workflow templates: what they refer to, their bounds, tags, inputs, and the groups that their runs are counted in.
// Joined by invalid_manifests.ts. § stands right before the place of the finding.
// Never holds a row that a valid manifest could match.

import { head, type InvalidManifest, row, template } from "./invalid_row.ts";

/** Rows of WorkflowTemplate. */
export const INVALID_WORKFLOWS: readonly InvalidManifest[] = [
  row(
    "E-REFERENCE",
    "a system that does not exist",
    head("WorkflowTemplate", "flow", "system: §nothing"),
    "no AgentSystem",
  ),
  row("E-VALUE", "a grace below three seconds", template("cancellation: {grace: §1s}"), "between 3s"),
  row("E-MISSING", "a concurrency without max", template("concurrency: §{onLimit: queue}"), "max"),
  row("E-VALUE", "a concurrency of nothing", template("concurrency: {max: §0}"), "between 1 and 10000"),
  row("E-TYPE", "a concurrency of one and a half", template("concurrency: {§max: 1.5}"), "whole number"),
  row("E-TYPE", "a concurrency that is a number", template("concurrency: §3"), "expected a map"),
  row("E-VALUE", "an unknown onLimit", template("concurrency: {max: 1, onLimit: §rejct}"), 'did you mean "reject"?'),
  row("E-UNKNOWN-KEY", "a misspelt queueTimeout", template("concurrency: {max: 1, §queueTimout: 1h}"), "queueTimeout"),
  row(
    "E-DURATION",
    "a queueTimeout as a number",
    template("concurrency: {max: 1, queueTimeout: §60}"),
    "not a duration",
  ),
  row("E-VALUE", "a queueTimeout of no time", template("concurrency: {max: 1, queueTimeout: §1ms}"), "between 1s"),
  row(
    "E-VALUE",
    "a queueTimeout of runs that never wait",
    template("concurrency: {max: 1, onLimit: reject, §queueTimeout: 1h}"),
    "onLimit: queue",
  ),
  row("E-EXPRESSION", "a key that is no CEL", template('concurrency: {max: 1, key: "tags§["}'), "not a CEL"),
  row(
    "E-EXPRESSION",
    "a key of a concurrency as a template",
    template('concurrency: {max: 1, key: "§${{ params.size }}"}'),
    "bare CEL",
  ),
  row("E-EXPRESSION", "a key of the run", template("concurrency: {max: 1, key: §run.id}"), "params, tags"),
  row(
    "E-EXPRESSION",
    "a key of a misspelt tag",
    template("concurrency: {max: 1, key: §tags.tikcet}\ntags: {ticket: {from: request, required: true}}"),
    'did you mean "ticket"?',
  ),
  row(
    "E-INPUT",
    "a key that is a map",
    template("concurrency: {max: 1, key: §params}"),
    "a text, a number or a boolean",
  ),
  row("E-INPUT", "a key that is a list", template("concurrency: {max: 1, key: §'[params.size]'}"), "array"),
  row("E-VALUE", "retention.runs", template("retention: {runs: §59m}"), "out of range"),
  row("E-VALUE", "retention.deadLetters", template("retention: {deadLetters: §3651d}"), "out of range"),
  row("E-DURATION", "retention.runs as a word", template("retention: {runs: §never}"), "not a duration"),
  row("E-VALUE", "an unknown priority", template("priority: §hihg"), 'did you mean "high"?'),
  row("E-UNION", "a claim on a request tag", template("tags: {t: {from: request, §claim: c}}"), "does not belong"),
  row("E-TYPE", "a tag value that is a number", template("tags: {t: {from: template, value: §5}}"), 'quote it: "5"'),
  row(
    "E-EXPRESSION",
    "an input that reads an unknown tag",
    template('input: {text: "${{ §tags.tikcet }}"}\ntags: {ticket: {from: request, required: true}}'),
    'did you mean "ticket"?',
  ),
  row(
    "E-INPUT",
    "an input that does not fit the system",
    template('input: {text: §"${{ params.size }}"}'),
    "found integer",
  ),
];
