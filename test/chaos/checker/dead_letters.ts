// What became of parked tasks: each has a dead letter, a replay happens once, and what was recorded before it is not done again.
// One of the invariants of invariants.ts; imports nothing of the product.

import type { AuditRow, DeadLetterRow, Facts } from "./facts.ts";
import type { Violation } from "./invariants.ts";

/** Parked work that nobody can see, replays that happened twice or not as told, and repeated records. */
export function wrongReplays(facts: Facts): Violation[] {
  return [
    ...unseen(facts),
    ...facts.deadLetters.flatMap(resolutionOf(facts)),
    ...misTold(facts),
    ...repeated(facts),
  ].map((witness) => ({ invariant: "wrong_replays", witness }));
}

function unseen({ tasks, runs, deadLetters }: Facts): string[] {
  const letters = new Map(deadLetters.map((letter) => [letter.task_id, letter]));
  const open = new Set(deadLetters.flatMap(({ run_id, state }) => (state === "open" ? [run_id] : [])));
  return [
    ...tasks
      .filter(({ id, state }) => state === "DEAD_LETTERED" && !letters.has(id))
      .map(({ id }) => `task ${id} is parked without a dead letter`),
    ...tasks
      .filter(({ replay_of }) => replay_of !== null && letters.get(replay_of)?.state !== "replayed")
      .map(({ id, replay_of }) => `task ${id} replays ${replay_of}, which was not replayed`),
    ...runs
      .filter(({ id, end_ms, conditions }) => end_ms === null && conditions.includes("Parked") && !open.has(id))
      .map(({ id }) => `run ${id} is parked, and none of its dead letters is open`),
  ];
}

// A letter, its record, and the task that replays it say the same.
function resolutionOf({ tasks, audit }: Facts): (letter: DeadLetterRow) => string[] {
  const replays = Map.groupBy(tasks, ({ replay_of }) => replay_of);
  const records = Map.groupBy(
    audit.filter(({ kind }) => kind.startsWith("dead_letter.")),
    ({ task_id }) => task_id,
  );
  return ({ task_id, state, replay_task_id }) => {
    const made = (replays.get(task_id) ?? []).map(({ id }) => id);
    const kinds = (records.get(task_id) ?? []).map(({ kind }) => kind);
    const due = {
      tasks: state === "replayed" ? `${replay_task_id}` : "",
      kinds: state === "open" ? "" : `dead_letter.${state}`,
    };
    return [
      ...(made.join(" ") === due.tasks
        ? []
        : [`dead letter ${task_id} is ${state}, and its replays are: ${made.join(" ")}`]),
      ...(kinds.join(" ") === due.kinds
        ? []
        : [`dead letter ${task_id} is ${state}, and its records are: ${kinds.join(" ")}`]),
    ];
  };
}

// What somebody was answered is what happened.
function misTold({ history, deadLetters }: Facts): string[] {
  const letters = new Map(deadLetters.map((letter) => [letter.task_id, letter]));
  const begun = Map.groupBy(
    history.flatMap((event) => (event.type === "replayed" && !event.duplicate ? [event] : [])),
    ({ task }) => task,
  );
  return [
    ...[...begun]
      .filter(([, events]) => events.length > 1)
      .map(
        ([task, events]) =>
          `replay of ${task} was begun ${events.length} times: ${events.map((e) => e.replay).join(" ")}`,
      ),
    ...history.flatMap((event) => {
      if (event.type === "replayed" && letters.get(event.task)?.replay_task_id !== event.replay)
        return [
          `replay of ${event.task} was acknowledged as ${event.replay}, and is ${letters.get(event.task)?.replay_task_id}`,
        ];
      if (event.type === "discarded" && letters.get(event.task)?.state !== "discarded")
        return [`discard of ${event.task} was acknowledged, and it is ${letters.get(event.task)?.state}`];
      return [];
    }),
  ];
}

// Request ids are auto:ORIGIN/TURN/CALL. A turn that had a call granted stays; a result on record is not called for again.
function repeated({ audit, tasks }: Facts): string[] {
  const origins = new Map(tasks.map(({ id, origin_task_id }) => [id, origin_task_id]));
  const acted = new Set<string>();
  const known = new Map<string, AuditRow>();
  return audit.flatMap((record): string[] => {
    const { id, kind, task_id, detail } = record;
    if (kind === "dead_letter.replayed") {
      for (const requestId of Object.keys(detail.toldResults ?? {})) known.set(requestId, record);
    } else if (kind === "tool.result" || kind === "tool.late_result") {
      if (detail.ok === true) known.set(detail.requestId, record);
    } else if (kind === "turn.recorded") {
      const turn = `auto:${origins.get(task_id)}/${detail.sequence}`;
      if (acted.has(turn))
        return [`record ${id}: turn ${detail.sequence} of ${task_id} was asked again after its calls`];
    } else if (kind === "tool.granted") {
      acted.add(detail.requestId.slice(0, detail.requestId.lastIndexOf("/")));
      const before = known.get(detail.requestId);
      if (before !== undefined)
        return [`record ${id}: ${detail.requestId} was granted again, its result is known since record ${before.id}`];
    }
    return [];
  });
}
