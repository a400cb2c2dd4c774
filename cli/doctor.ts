// The verb `orloj doctor`: looks for what is wrong with this client, the server of this machine, and the control plane, and says what to do.
// Called by main.ts. Also where no server answers: then it says what can be known without one.
// JSON: {"items": [{"id", "severity", "subject", "message", "nextStep"}], "worst": …}. Exit 0: all is well; 1: warnings; 2: errors.

import type { Command } from "commander";
import { RELEASE } from "../kit/release.ts";
import { SECOND } from "../kit/units.ts";
import { Code, type DiagnoseResponse, OrlojError } from "../sdk/index.ts";
import { chosenContext, resolveConnection } from "./connection.ts";
import type { Context } from "./context.ts";
import { LOCAL } from "./contexts.ts";
import { showError, UsageError } from "./failure.ts";
import { millis } from "./format.ts";
import { isThisMachine, openPorts } from "./ports.ts";
import { columnsOf, safeLine } from "./sanitize.ts";
import type { Tone } from "./style.ts";

/** What one look found. */
interface Finding {
  readonly id: string;
  /** "ok", "warning" or "error". */
  readonly severity: string;
  readonly subject: string;
  readonly message: string;
  readonly nextStep: string;
}

const LOOKS: Readonly<Record<string, { readonly sign: string; readonly tone: Tone }>> = {
  ok: { sign: "✔", tone: "good" },
  warning: { sign: "!", tone: "warn" },
  error: { sign: "✘", tone: "bad" },
};
/** Exit codes of this verb: how bad it is. */
const ENDS = { well: 0, warnings: 1, errors: 2 } as const;
const CLOCK_MS = 5 * SECOND;
const DIAGNOSE_MS = 30 * SECOND;
const ID_COLUMNS = 24;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("doctor")
    .description("Look for what is wrong with client, server and control plane, and say what to do.")
    .option("--problems", "leave out what is as it should be")
    .action(async (options: { readonly problems?: boolean }) => {
      const findings = [...(await ofClient(context)), ...(await ofServer(context))];
      show(context, findings, options.problems === true);
    });
}

function show(context: Context, findings: readonly Finding[], problems: boolean): void {
  const count = (severity: string) => findings.filter((one) => one.severity === severity).length;
  const [errors, warnings] = [count("error"), count("warning")];
  context.exitCode = errors > 0 ? ENDS.errors : warnings > 0 ? ENDS.warnings : ENDS.well;
  const shown = findings.filter(({ severity }) => !problems || severity !== "ok");
  if (context.json) {
    const items = shown.map(({ id, severity, subject, message, nextStep }) => ({
      ...{ id, severity, subject, message, nextStep },
    }));
    context.printJson({ items, worst: errors > 0 ? "error" : warnings > 0 ? "warning" : "ok" });
    return;
  }
  for (const { id, severity, subject, message, nextStep } of shown) {
    const { sign, tone } = LOOKS[severity] ?? { sign: "?", tone: "plain" as const };
    const name = safeLine(id);
    const about = safeLine(subject === "" ? message : `${subject}: ${message}`);
    context.print(
      `${context.paint(tone, `${sign} ${name}`)}${" ".repeat(Math.max(1, ID_COLUMNS - columnsOf(name)))}${about}`,
    );
    if (nextStep !== "") context.print(`    Next: ${safeLine(nextStep)}`);
  }
  context.print(`${findings.length - errors - warnings} ok, ${warnings} warnings, ${errors} errors`);
}

async function ofClient(context: Context): Promise<Finding[]> {
  const { env, directory } = context.host;
  const findings = [ok("client.release", `orloj ${RELEASE}, Node ${process.versions.node}`)];
  try {
    const name = chosenContext(context.connectionFlags, env);
    const { endpoint, home, token, tls } = resolveConnection(context.connectionFlags, env, directory);
    const credentials = [
      ...(token === undefined ? [] : ["a token"]),
      ...(tls?.cert === undefined ? [] : ["a certificate"]),
    ];
    const means = credentials.length === 0 ? "no token and no certificate" : credentials.join(" and ");
    findings.push(ok("client.context", `${endpoint}, with ${means}`, name));
    if (name !== LOCAL || !isThisMachine(endpoint)) return findings;
    const { homeReport } = await import("../server/home_report.ts");
    return [...findings, ...(await homeReport(home))];
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return [...findings, wrong("client.context", error.message, error.next)];
  }
}

async function ofServer(context: Context): Promise<Finding[]> {
  const { clock } = context.host;
  const beforeMs = clock.now();
  let answer: DiagnoseResponse;
  try {
    answer = await context.client.fleet.diagnose({}, { timeoutMs: DIAGNOSE_MS });
  } catch (error) {
    // Told with the client's own findings.
    if (error instanceof UsageError) return [];
    return await unanswered(context, error);
  }
  const { replicaId, version, findings } = answer;
  return [
    ok("server.connection", `${replicaId} of release ${version} answers`),
    skew(version),
    clocks(beforeMs, millis(answer.serverTime) ?? beforeMs, clock.now()),
    ...findings,
  ];
}

async function unanswered(context: Context, error: unknown): Promise<Finding[]> {
  const failure = OrlojError.from(error);
  const { message, next } = showError(error, context.endpoint);
  if (failure.code === Code.PermissionDenied) {
    const step = "use a token with the role operator or admin";
    return [warn("server.rights", `the server answers, and does not tell this caller more: ${message}`, step)];
  }
  if (failure.code === Code.Unimplemented) {
    return [
      warn("server.release", "the server is of an older release and cannot diagnose itself", "upgrade the server"),
    ];
  }
  if (failure.code === Code.Unauthenticated) return [wrong("server.credentials", message, next)];
  if (failure.reason !== "CONNECTION_LOST") return [wrong("server.answer", message, next)];
  const taken = await openPorts(context.endpoint);
  const ports = taken.map((port) =>
    warn(
      "server.port",
      `something listens on port ${port}, and it is not this server`,
      "orloj server --api-port, --worker-port, --ops-port choose others",
    ),
  );
  return [wrong("server.connection", message, next), ...ports];
}

function skew(version: string): Finding {
  if (version === RELEASE) return ok("server.release", "client and server are of one release");
  const message = `the server is of release ${version || "unknown"}, this client of ${RELEASE}`;
  return warn("server.release", message, "bring both to one release; a client may be one minor release older");
}

// The server looked at its clock somewhere between two looks at ours.
function clocks(beforeMs: number, serverMs: number, afterMs: number): Finding {
  const apartMs = Math.max(0, beforeMs - serverMs, serverMs - afterMs);
  const message = `the clocks of client and server are ${(apartMs / SECOND).toFixed(1)} s apart`;
  return apartMs < CLOCK_MS ? ok("clock.client", message) : warn("clock.client", message, "let NTP keep both clocks");
}

function ok(id: string, message: string, subject = ""): Finding {
  return { id, severity: "ok", subject, message, nextStep: "" };
}

function warn(id: string, message: string, nextStep: string): Finding {
  return { id, severity: "warning", subject: "", message, nextStep };
}

function wrong(id: string, message: string, nextStep: string): Finding {
  return { id, severity: "error", subject: "", message, nextStep };
}
