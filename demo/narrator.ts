// What the demo says, and how: headings, runs shown live with the CLI's renderer, decisions, tool calls, audit trails.
// Called by demo/main.ts. Writes to standard output only.
// Text that came from a run is made safe for a terminal before it is printed.

import { safeLine } from "../cli/sanitize.ts";
import { type Paint, palette } from "../cli/style.ts";
import { watchRun } from "../cli/watch_run.ts";
import type { Clock } from "../kit/clock.ts";
import { isJsonObject } from "../kit/json.ts";
import type { ApplyResult, AuditRecord, Diagnostic, OrlojError, Run, RunHandle } from "../sdk/index.ts";
import type { Scene } from "./scenes.ts";
import { type DecisionLine, type RunFacts, trailLine } from "./trail.ts";

const COLUMNS_DEFAULT = 100;
const ROWS_DEFAULT = 40;

/** See the file header. */
export class Narrator {
  readonly #clock: Clock;
  readonly #paint: Paint;
  readonly #terminal: boolean;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#terminal = process.stdout.isTTY === true && process.env["TERM"] !== "dumb";
    this.#paint = palette(this.#terminal && !process.env["NO_COLOR"]);
  }

  /** A title with an empty line before it. */
  heading(text: string): void {
    this.#line(`\n${this.#paint("bold", `== ${text}`)}`);
  }

  /** One line of prose. */
  say(text: string): void {
    this.#line(`   ${text}`);
  }

  /** The command that would do what is done next. */
  command({ workflow, namespace, params, tags = {} }: Scene): void {
    const words = [
      ...(namespace === undefined ? [] : [`-n ${namespace}`]),
      ...Object.entries(params).map(([key, value]) => `-p ${key}=${quoted(String(value))}`),
      ...Object.entries(tags).map(([key, value]) => `-t ${key}=${quoted(value)}`),
    ];
    this.#line(this.#paint("dim", `   $ orloj invoke ${[workflow, ...words].join(" ")} --watch`));
  }

  /** What apply did. */
  applied(results: readonly ApplyResult[], diagnostics: readonly Diagnostic[]): void {
    const counts = new Map<string, number>();
    for (const { kind } of results) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    this.say([...counts].map(([kind, count]) => `${count} ${kind}`).join(", "));
    for (const { file, line, column, severity, code, message } of diagnostics) {
      this.#line(this.#paint("warn", `   ${file}:${line}:${column}: ${severity}[${code}] ${safeLine(message)}`));
    }
  }

  /** Shows a run until it is finished: drawn in place on a terminal, a line a transition elsewhere. */
  async watch(run: RunHandle): Promise<void> {
    const screen = {
      write: (text: string) => void process.stdout.write(text),
      size: () => ({
        columns: process.stdout.columns ?? COLUMNS_DEFAULT,
        rows: process.stdout.rows ?? ROWS_DEFAULT,
      }),
    };
    await watchRun(run.watch(), {
      clock: this.#clock,
      paint: this.#paint,
      screen: this.#terminal ? screen : undefined,
      print: (line) => this.#line(`   ${line}`),
    });
  }

  /** An invocation that a policy refused. */
  refused(error: OrlojError): void {
    this.#line(this.#paint("denied", `   ⊘ refused: ${error.reason}: ${safeLine(error.message)}`));
    this.say("There is no run; the decision is on record.");
  }

  /** Text in the output, as a person would read it: JSON shows it in one long line. */
  prose(run: Run): void {
    const output: unknown = JSON.parse(run.outputJson || "null");
    if (!isJsonObject(output)) return;
    for (const [name, text] of Object.entries(output)) {
      if (typeof text !== "string" || !text.includes("\n")) continue;
      this.#subheading(`${name}, as text`);
      for (const line of text.trimEnd().split("\n")) this.say(safeLine(line));
    }
  }

  /** The ledger of a run. */
  toolCalls({ toolCalls, tasks }: RunFacts): void {
    const workers = [...new Set(tasks.map(({ worker }) => worker).filter((worker) => worker !== ""))].sort();
    this.#subheading(`Tool calls (ledger), made by ${workers.join(" and ") || "no worker"}`);
    if (toolCalls.length === 0) this.say("none");
    for (const { node, call } of toolCalls) {
      const tries = call.attempt > 1 ? `  after ${call.attempt} attempts` : "";
      const failure = call.failure === undefined ? "" : `  ${call.failure.class}: ${call.failure.message}`;
      this.say(safeLine(`${node.padEnd(10)} ${call.tool.padEnd(16)} ${call.state}${tries}${failure}`));
    }
  }

  /** Decisions that policies had a part in, and every denial. */
  decisions(decisions: readonly DecisionLine[]): void {
    this.#subheading("Decisions");
    const told = decisions.filter(({ allowed, verdicts }) => !allowed || verdicts.length > 0);
    for (const one of told) {
      const subject = [one.agent, one.tool].filter((part) => part !== "").join(" → ");
      const word = one.allowed
        ? "allowed"
        : `denied (${one.reason}${one.decidedBy === "" ? "" : ` by ${one.decidedBy}`})`;
      this.#line(
        this.#paint(one.allowed ? "good" : "denied", safeLine(`   ${one.checkpoint.padEnd(12)} ${word}  ${subject}`)),
      );
      for (const verdict of one.verdicts) this.say(safeLine(`             ${verdict}`));
    }
    if (told.length === 0)
      this.say("on structure alone (declared tool, fitting arguments, live lease): no policy is attached");
  }

  /** The trail of a run: all of it, or how to read it. */
  trail(records: readonly AuditRecord[], runId: string, all: boolean): void {
    this.#subheading(`Audit trail: ${records.length} records, each committed with the change that it describes`);
    if (all) for (const record of records) this.say(safeLine(trailLine(record)));
    else this.say(`read it with: orloj audit list --run ${runId}`);
  }

  #subheading(text: string): void {
    this.#line(this.#paint("bold", `   ${text}`));
  }

  #line(text: string): void {
    process.stdout.write(`${text}\n`);
  }
}

function quoted(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
