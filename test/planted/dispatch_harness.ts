// The loops of one replica with a worker played in memory, over a real Postgres: what neither simulation nor SQL layer has in it.
// Without any hint, a tick brings ready work to a worker; and what the database could not take is never acknowledged.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { systemClock } from "../../kit/clock.ts";
import { type Assignment, SessionRequestSchema, type SessionResponse } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { createServices } from "../../server/commands/services.ts";
import { Claimer } from "../../server/dispatch/claimer.ts";
import { Renewer } from "../../server/dispatch/renewer.ts";
import { SessionRegistry } from "../../server/dispatch/session_registry.ts";
import { Tick } from "../../server/dispatch/tick.ts";
import { timingOf } from "../../server/dispatch/timing.ts";
import { TTL_MS } from "../sim/flows.ts";
import { SqlSystem } from "../sim/sql_system.ts";
import type { Finding } from "./harness.ts";

type Frame = NonNullable<MessageInitShape<typeof SessionRequestSchema>["frame"]>;
const clock = systemClock();
/** A worker hears within this or not at all. */
const HEARD_MS = 3_000;

export async function playDispatch(url: string): Promise<Finding> {
  const system = await SqlSystem.open(url);
  try {
    await system.startHistory();
    return await play(system);
  } finally {
    await system.close();
  }
}

async function play(system: SqlSystem): Promise<Finding> {
  const context = system.replica(0);
  const services = createServices(context);
  const timing = timingOf(TTL_MS);
  const replicaId = context.ids.next("rep");
  const claimer: Claimer = new Claimer(context, services, () => registry);
  const renewer: Renewer = new Renewer(context, () => registry, clock, timing);
  const registry: SessionRegistry = new SessionRegistry({
    ...{ context, services, timing, clock, replicaId, onCredit: () => undefined, onRenewal: () => undefined },
  });
  const [starter, sealer] = [{ wake: () => undefined }, { wake: () => undefined }];
  const tick = new Tick({ context, services, claimer, starter, sealer, renewer, registry, clock, timing, replicaId });
  const worker = await connect(registry);
  try {
    await system.perform({ op: "invoke", flow: 0, key: "" }, 1);
    await tick.once();
    const task = (await worker.take("assign"))?.assignments[0];
    if (task === undefined) {
      const witness = [
        "another replica invoked a workflow, and its hint was lost",
        "tick",
        "the worker was sent nothing",
      ];
      return { rule: "the tick finds whatever a lost hint was about", witness };
    }
    return await endWithoutDatabase(system, worker, task);
  } finally {
    await claimer.stop();
    await renewer.stop();
  }
}

async function endWithoutDatabase(system: SqlSystem, worker: Played, { taskId, token }: Assignment): Promise<Finding> {
  system.faults.set({ type: "die_before_commit" });
  const outcomes = [{ taskId, token, outcome: { case: "outputJson" as const, value: "{}" } }];
  await worker.send({ case: "outcomes", value: { outcomes } });
  const told = await worker.take("outcomeAcks");
  system.faults.set({ type: "none" });
  const task = await system.database.db.selectFrom("task").select("state").where("id", "=", taskId).executeTakeFirst();
  if (told === undefined || task?.state === "SUCCEEDED") return { rule: null, witness: [] };
  const witness = [
    `outcome of ${taskId}: succeeded`,
    "the database is lost before the commit",
    `acknowledged: ${JSON.stringify(told.acks.map((ack) => ack.verdict))}`,
    `the task is ${task?.state}`,
  ];
  return { rule: "a fact is acknowledged after its commit", witness };
}

type Kind = NonNullable<SessionResponse["frame"]["case"]>;

async function connect(registry: SessionRegistry) {
  const principal = { id: "wrk", kind: "worker", groups: [], claims: {}, method: "test", roles: ["worker"] } as const;
  const session = registry.connect({ ...principal, groups: [], roles: ["worker"] }, "127.0.0.1:1");
  const frames: SessionResponse[] = [];
  let over = false;
  const reading = (async () => {
    try {
      for await (const frame of session.outgoing(new AbortController().signal)) frames.push(frame);
    } catch {
      // A session that the server ends tells its worker nothing more.
    }
    over = true;
  })();
  void reading;
  const send = (frame: Frame) => session.receive(create(SessionRequestSchema, { frame }));
  const hello = {
    protocolVersion: 1,
    instanceId: "played-by-a-harness",
    workerName: "w",
    slots: 1,
    runtimes: ["model"],
    version: "1",
  };
  await send({ case: "hello", value: hello });
  await send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  return {
    send: (frame: Frame) => send(frame).catch(() => undefined),
    /** The next frame of a kind; undefined when none comes. */
    async take<K extends Kind>(kind: K) {
      const untilMs = clock.monotonic() + HEARD_MS;
      while (clock.monotonic() < untilMs) {
        const index = frames.findIndex((frame) => frame.frame.case === kind);
        const [found] = index < 0 ? [] : frames.splice(index, 1);
        if (found !== undefined) return found.frame.value as Extract<SessionResponse["frame"], { case: K }>["value"];
        if (over) return undefined;
        await new Promise<void>((resolve) => void clock.after(10, resolve));
      }
      return undefined;
    },
  };
}

type Played = Awaited<ReturnType<typeof connect>>;
