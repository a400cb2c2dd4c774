// Lies about leases and sessions: tokens that were never given are accepted, renewed, yielded; sessions of others are resumed.
// Called by lane.ts. They change nothing: the victim goes on holding its task, which its own frames show afterwards.

import { randomBytes } from "node:crypto";
import { envelope, soundFrame } from "../fuzz/frames.ts";
import type { Dialer } from "../fuzz/hostile_sessions.ts";
import type { Attack, Scene } from "./call_attacks.ts";
import { Link } from "./link.ts";

const MIB = 1_048_576;
const strangeToken = ({ victim, turn }: Scene) => (turn % 2 === 0 ? victim.token : randomBytes(16).toString("hex"));
const instance = () => randomBytes(16).toString("hex");

/** The lies of this file that a session survives. */
export const LEASE_ATTACKS: readonly Attack[] = [
  async (scene) => {
    scene.own.link.send({ case: "accept", value: { tokens: [strangeToken(scene)] } });
    return { kind: "accept_of_a_lease_not_offered", accepted: false, sign: "fact.refused accept not_held" };
  },
  async (scene) => {
    const token = strangeToken(scene);
    const lost = await scene.own.link.renewToo([token]);
    return { kind: "renewal_of_another", accepted: !lost.includes(token), sign: "fact.refused renewal not_held" };
  },
  async (scene) => {
    scene.own.link.send({ case: "yield", value: { leases: [{ token: strangeToken(scene), reason: "full" }] } });
    return { kind: "yield_of_another", accepted: false, sign: "fact.refused yield not_held" };
  },
  async (scene) => {
    scene.own.link.send({ case: "cancelAck", value: { tokens: [strangeToken(scene)] } });
    return { kind: "cancel_ack_of_another", accepted: false, sign: "fact.refused cancel_ack not_held" };
  },
  async ({ own, victim }) => {
    const { taskId, token } = victim;
    const page = await own.link.ask({ case: "fetchJournal", value: { taskId, token, afterSequence: 0 } }, (frame) =>
      frame.case === "journalPages" && frame.value.taskId === taskId ? frame.value : undefined,
    );
    const sign = "fact.refused journal not_held";
    return { kind: "journal_of_another", accepted: page.entries.length > 0, sign };
  },
];

/** The lies for which a session is opened, and mostly lost. */
export function sessionAttacks(dial: () => Dialer): readonly Attack[] {
  const open = (name: string, more: Partial<Parameters<typeof Link.open>[1]> = {}) =>
    Link.open(dial(), { name, instanceId: instance(), side: "nothing", ...more });
  const broken =
    (kind: string, bytes: () => Buffer): Attack =>
    async ({ own }) => {
      const link = await open(own.link.name);
      link.sendBytes(bytes());
      await link.ended;
      return { kind, accepted: false, sign: "security.refused PROTOCOL_VIOLATION" };
    };
  return [
    async ({ own, victim }) => {
      const wanted = victim.link.sessionId;
      const link = await open(own.link.name, { resume: wanted });
      link.close();
      const accepted = link.sessionId === wanted;
      return { kind: "session_of_another_resumed", accepted, sign: "fact.refused resume not_resumable" };
    },
    async ({ own }) => {
      const first = await open(own.link.name);
      const link = await open(own.link.name, { resume: first.sessionId });
      for (const one of [first, link]) one.close();
      const accepted = link.sessionId === first.sessionId;
      return { kind: "session_resumed_by_another_instance", accepted, sign: "fact.refused resume not_resumable" };
    },
    async ({ own, victim: { taskId, token } }) => {
      const link = await open(own.link.name, { held: [{ taskId, token }] });
      link.close();
      const accepted = link.welcome.held.some(({ keep }) => keep);
      return { kind: "lease_of_another_claimed_at_hello", accepted, sign: "fact.refused held not_held" };
    },
    broken("frame_too_large", () => envelope(Buffer.alloc(5 * MIB, 0x0a))),
    broken("bytes_that_are_no_frame", () => envelope(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07]))),
    broken("turn_that_is_no_json", () =>
      soundFrame({ case: "turns", value: { turns: [{ taskId: "t", token: "t", sequence: 1, turnJson: "{" }] } }),
    ),
    broken("turn_without_text_or_calls", () =>
      soundFrame({ case: "turns", value: { turns: [{ taskId: "t", token: "t", sequence: 1, turnJson: "{}" }] } }),
    ),
    broken("second_hello", () =>
      soundFrame({ case: "hello", value: { protocolVersion: 1, instanceId: instance(), workerName: "liar" } }),
    ),
  ];
}
