// The demo: `npm run demo`. Starts the real processes, applies examples/, invokes workflows and shows what happens.
// Ends by itself; the last line says what was seen, and the exit code whether it was what had to be seen.
// `--live` asks the OpenAI-compatible model of the environment instead of the scripted ones.
// Never leaves a process, a port, or a file behind, however it ends.

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { systemClock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import { createClient, type OrlojClient, OrlojError, runStateName } from "../sdk/index.ts";
import { Cleanup, type Fleet, startFleet } from "./fleet.ts";
import { ALWAYS_SCRIPTED, liveModelFrom, readExamples, withLiveModel } from "./manifests.ts";
import { Narrator } from "./narrator.ts";
import { SCENES, type Scene } from "./scenes.ts";
import { decisionsOf, type RunFacts, readFacts, readRecords } from "./trail.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** What the last line says. */
interface Tally {
  runs: number;
  succeeded: number;
  denied: number;
  tasks: number;
  toolCalls: number;
  auditRecords: number;
}

const clock = systemClock();
const cleanup = new Cleanup();
const narrator = new Narrator(clock);
const unmet: string[] = [];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    process.stderr.write(`\ndemo: ${signal}, cleaning up\n`);
    void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143));
  });
}

try {
  const tally = await play();
  await cleanup.run();
  for (const line of unmet) process.stderr.write(`demo: NOT AS EXPECTED: ${line}\n`);
  const { runs, succeeded, denied, tasks, toolCalls, auditRecords } = tally;
  process.stdout.write(
    `demo: runs=${runs} succeeded=${succeeded} denied=${denied} tasks=${tasks} tool_calls=${toolCalls} audit_records=${auditRecords}\n`,
  );
  process.exitCode = unmet.length === 0 ? 0 : 1;
} catch (error) {
  await cleanup.run();
  process.stderr.write(`demo: ${messageOf(error)}\n`);
  process.exitCode = 1;
}

async function play(): Promise<Tally> {
  const { values } = parseArgs({ options: { live: { type: "boolean", default: false } } });
  const live = values.live ? liveModelFrom(process.env) : undefined;

  narrator.heading("Orloj: server, two workers, and a service to work on");
  const fleet = await startFleet(ROOT, live, clock, cleanup, (line) => narrator.say(line));
  const client = createClient({ endpoint: fleet.endpoint, token: fleet.token });
  const files = await readExamples(ROOT);
  narrator.heading("Apply examples/: one transaction, and nothing starts");
  const { results, diagnostics } = await client.manifests.apply({
    files: live === undefined ? files : withLiveModel(files, live),
  });
  narrator.applied(results, diagnostics);
  narrator.say(
    live === undefined
      ? "Models: provider `scripted`. Rules answer instead of a language model; tools, data, and decisions are real."
      : `Models: ${live.name} at ${live.baseUrl}; only ${ALWAYS_SCRIPTED} stays scripted.`,
  );
  const before = await client.workflows.listRuns({});
  expect(before.runs.length === 0, `applying started ${before.runs.length} runs`);

  const tally: Tally = { runs: 0, succeeded: 0, denied: 0, tasks: 0, toolCalls: 0, auditRecords: 0 };
  for (const [index, scene] of SCENES.entries()) {
    narrator.heading(`${index + 1}/${SCENES.length}  ${scene.title}`);
    await playScene(fleet, client, scene, tally);
  }
  tally.auditRecords = (await readRecords(client, {})).length;
  checkEnd(fleet, tally);
  return tally;
}

async function playScene(fleet: Fleet, client: OrlojClient, scene: Scene, tally: Tally): Promise<void> {
  const { workflow, namespace, customer, params, tags = {} } = scene;
  narrator.command(scene);
  const caller = customer === undefined ? client : await clientOf(fleet, client, customer);
  const run = await caller
    .workflow(workflow, namespace === undefined ? {} : { namespace })
    .invoke(params, { tags })
    .catch((error: unknown) => {
      if (error instanceof OrlojError && error.reason === "POLICY_DENIED") return error;
      throw error;
    });
  if (run instanceof OrlojError) {
    tally.denied += 1;
    narrator.refused(run);
    expect(scene.expect === "REFUSED", `${workflow} was refused: ${run.message}`);
    const refusals = await readRecords(client, { kinds: ["run.refused"] });
    expect(refusals.length > 0, `the refusal of ${workflow} is not in the audit trail`);
    narrator.decisions(decisionsOf(refusals.slice(-1)));
    return;
  }
  tally.runs += 1;
  await narrator.watch(run);
  const end = await run.get();
  const facts = await readFacts(client, run.id);
  tally.tasks += facts.tasks.length;
  tally.toolCalls += facts.toolCalls.length;
  const state = runStateName(end.state);
  if (state === "SUCCEEDED") tally.succeeded += 1;
  if (state === "POLICY_DENIED") tally.denied += 1;
  narrator.prose(end);
  narrator.toolCalls(facts);
  narrator.decisions(decisionsOf(facts.records));
  narrator.trail(facts.records, run.id, scene.trail === true);
  expect(
    state === scene.expect,
    `${workflow} ended ${state}, not ${scene.expect} (${end.failure?.message ?? "no failure"})`,
  );
  checkFacts(scene, facts);
}

// A token whose claim says which customer it stands for, as an identity provider would say it.
async function clientOf(fleet: Fleet, admin: OrlojClient, customer: string): Promise<OrlojClient> {
  const { token } = await admin.tokens.createToken({
    ...{ name: customer, kind: "user", roles: ["invoker"], claims: { customer_id: customer } },
  });
  return createClient({ endpoint: fleet.endpoint, token });
}

function checkFacts(scene: Scene, facts: RunFacts): void {
  expect(facts.records.length > 0, `the run of ${scene.workflow} has no audit record`);
  if (scene.reason === undefined) return;
  const denials = decisionsOf(facts.records).filter(({ allowed }) => !allowed);
  expect(
    denials.some(({ reason }) => reason === scene.reason),
    `${scene.workflow} was not denied as ${scene.reason} but as ${denials.map(({ reason }) => reason).join(", ") || "nothing"}`,
  );
}

// The service's own count is what the effects are judged by, not what the control plane says of itself.
function checkEnd(fleet: Fleet, tally: Tally): void {
  const effects = fleet.service.effects();
  const { restarts, tickets, deployments, refunds, notices, forged } = effects;
  narrator.heading("What the service counted itself");
  narrator.say(
    Object.entries(effects)
      .map(([name, count]) => `${name}=${count}`)
      .join(" "),
  );
  expect(restarts === 1, `the service counted ${restarts} restarts, not 1`);
  expect(tickets === 1, `the service counted ${tickets} tickets, not 1`);
  expect(deployments === 0, `the service counted ${deployments} deployments although every one was denied`);
  expect(refunds === 1, `the service counted ${refunds} refunds, not 1`);
  expect(notices === 2 && forged === 0, `the service believed ${notices} webhooks of 2, and refused ${forged}`);
  expect(tally.succeeded >= 2, `${tally.succeeded} runs succeeded, at least 2 must`);
  expect(tally.denied >= 2, `${tally.denied} were denied, at least 2 must`);
  expect(tally.toolCalls > 0, "no tool was called");
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) unmet.push(otherwise);
}
