// Dispatch over the command stage: registry, claimer, renewer and tick of one replica, and workers played in memory.
// Called by test/dispatch. Time moves only when a test moves it; flushes and ticks run only when a test asks.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Clock } from "../../kit/clock.ts";
import {
  type Assignment,
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import { createServices } from "../../server/commands/services.ts";
import type { Principal } from "../../server/commands/views.ts";
import { Claimer } from "../../server/dispatch/claimer.ts";
import { Renewer } from "../../server/dispatch/renewer.ts";
import { SessionRegistry } from "../../server/dispatch/session_registry.ts";
import { Starter } from "../../server/dispatch/starter.ts";
import { Tick, type TickOptions } from "../../server/dispatch/tick.ts";
import { timingOf } from "../../server/dispatch/timing.ts";
import type { WorkerSession } from "../../server/dispatch/worker_session.ts";
import { commandStage } from "../commands/command_stage.ts";
import { atEndOfFile } from "../harness/cleanup.ts";

const TTL_MS = 30_000;
const principal: Principal = { id: "wrk", kind: "worker", groups: [], claims: {}, method: "test", roles: ["worker"] };

type Frame = NonNullable<MessageInitShape<typeof SessionRequestSchema>["frame"]>;
type Response = NonNullable<SessionResponse["frame"]["case"]>;

/** A clock that stands still until it is moved. */
export function standingClock() {
  let time = 0;
  const timers = new Set<() => void>();
  const clock: Clock = {
    now: () => time,
    monotonic: () => time,
    after(_delayMs, callback) {
      timers.add(callback);
      return () => timers.delete(callback);
    },
    sleep: (_delayMs, signal) =>
      new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true })),
  };
  return {
    clock,
    move(ms: number): void {
      time += ms;
    },
    /** Timers set and not yet called. */
    get timers(): number {
      return timers.size;
    },
  };
}

/** A frame from a worker. */
export function request(frame: Frame): SessionRequest {
  return create(SessionRequestSchema, { frame });
}

/** One replica's dispatch. */
export async function dispatchStage() {
  const stage = await commandStage();
  const standing = standingClock();
  const { clock } = standing;
  const replicaId = stage.context.ids.next("rep");
  const services = createServices(stage.context);
  const timing = timingOf(TTL_MS);
  const claimer: Claimer = new Claimer(stage.context, services, () => registry);
  const renewer: Renewer = new Renewer(stage.context, () => registry, clock, timing);
  const registry: SessionRegistry = new SessionRegistry({
    ...{ context: stage.context, services, timing, clock, replicaId },
    onCredit: () => claimer.wake(),
    onRenewal: (session) => renewer.pending(session),
  });
  const starter = new Starter(stage.context);
  atEndOfFile(() => starter.stop());
  const sealer = { wake: () => undefined };
  const parts = { services, claimer, starter, sealer, renewer, registry, clock, timing };
  const tick = new Tick({ ...parts, context: stage.context, replicaId });
  await claimer.loadRoutes();
  // As a replica is wired: what is given back is claimed again.
  Object.assign(stage.context.hints, { workReady: () => claimer.wake() });

  /** A worker that is not connected yet. */
  function worker(instance = stage.context.ids.token(), host = registry) {
    const session: WorkerSession = host.connect(principal, "127.0.0.1:1");
    const frames: SessionResponse[] = [];
    const ended = { error: undefined as unknown, over: false };
    const arrivals = new Set<() => void>();
    const wake = () => {
      for (const arrived of arrivals) arrived();
    };
    let reading: Promise<void> | undefined;
    const read = async () => {
      try {
        for await (const frame of session.outgoing(new AbortController().signal)) {
          frames.push(frame);
          wake();
        }
      } catch (error) {
        ended.error = error;
      }
      ended.over = true;
      wake();
    };
    return {
      session,
      frames,
      ended,
      instance,
      read(): Promise<void> {
        reading ??= read();
        return reading;
      },
      send: (frame: Frame) => session.receive(request(frame)),
      hello: (more: object = {}) =>
        session.receive(
          request({
            case: "hello",
            value: {
              ...{
                protocolVersion: 1,
                instanceId: instance,
                workerName: "w",
                slots: 4,
                runtimes: ["model"],
                version: "1",
              },
              ...more,
            },
          }),
        ),
      /** The next frame of a kind that was not taken yet, waited for. */
      async take<C extends Response>(kind: C) {
        for (;;) {
          const index = frames.findIndex((frame) => frame.frame.case === kind);
          const [found] = index < 0 ? [] : frames.splice(index, 1);
          if (found !== undefined) return found.frame.value as Extract<SessionResponse["frame"], { case: C }>["value"];
          if (ended.over) throw new Error(`the stream ended without ${kind}: ${ended.error}`);
          await new Promise<void>((resolve) => arrivals.add(resolve));
        }
      },
    };
  }

  /** A worker that said Hello and has been welcomed. */
  async function connected(more: object = {}, instance?: string, host = registry) {
    const made = worker(instance, host);
    void made.read();
    await made.hello(more);
    const welcome = await made.take("welcome");
    return Object.assign(made, { welcome });
  }

  /** As if some replica had looked for lost leases all along, up to so many ms ago. */
  const watched = (agoMs = 0) =>
    stage.database.pool.query(
      `update sweep set seen_time = clock_timestamp() - $1 * interval '1 ms', sweep_from = '-infinity'`,
      [agoMs],
    );

  /** Another replica's sessions, over the same database. */
  const otherReplica = () => {
    const context = stage.replica();
    const others = createServices(context);
    const beside: Claimer = new Claimer(context, others, () => sessions);
    const renewing: Renewer = new Renewer(context, () => sessions, clock, timing);
    const sessions: SessionRegistry = new SessionRegistry({
      ...{ context, services: others, timing, clock, replicaId: context.ids.next("rep") },
      onCredit: () => beside.wake(),
      onRenewal: (session) => renewing.pending(session),
    });
    return { registry: sessions, renewer: renewing, claimer: beside };
  };

  /** Another replica's tick, over the same database. */
  const otherTick = (more: Partial<TickOptions> = {}) =>
    new Tick({
      ...{ ...parts, context: stage.replica(), replicaId: "rep_other" },
      ...more,
    });

  return {
    ...stage,
    watched,
    otherTick,
    otherReplica,
    standing,
    services,
    timing,
    claimer,
    renewer,
    registry,
    tick,
    replicaId,
    worker,
    connected,
  };
}

/** A success of an assignment. */
export function success({ taskId, token }: Assignment): Frame {
  return { case: "outcomes", value: { outcomes: [{ taskId, token, outcome: { case: "outputJson", value: "{}" } }] } };
}
