// The tables against the model's books, after each operation: nothing lost, nothing twice, nothing unrecorded, ends are ends.
// Called by oracle.ts. Reads rows; calls no rule of the product.

import { type Books, demand, type TaskBook } from "./books.ts";
import type { Driver } from "./driver.ts";
import { FLOWS } from "./flows.ts";
import type { RunRow, TaskRow, Traced } from "./rows.ts";

const ENDED = ["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "POLICY_DENIED"];
const HEAD_START_MS = { high: 30_000, normal: 0, low: -30_000 };
const CHANGE_KINDS = /^(task|lease|dead_letter)\./;

export function checkState(books: Books, traced: Traced, driver: Driver): void {
  const { tables } = driver;
  for (const task of tables.tasks.values()) {
    const book = books.tasks.get(task.id) as TaskBook;
    checkTask(book, task, driver);
    checkChange(book, task, driver);
  }
  const { op } = traced.op;
  if (op === "settle" || op === "invoke" || op === "claim") {
    for (const run of tables.runs.values()) checkRun(books, run, traced, driver);
  }
  const { repeated } = driver.sink;
  demand(repeated === undefined, "an effect happens once", () => `${repeated?.request} happened again`);
}

function checkTask(book: TaskBook, task: TaskRow, { tables }: Driver): void {
  const { id, state } = task;
  const lease = tables.leases.get(id);
  const ready = tables.ready.get(id);
  const places =
    Number(lease !== undefined) + Number(ready !== undefined) + Number(state === "WAITING" && task.dueMs !== undefined);
  const isOpen = state === "READY" || state === "WAITING";
  demand(
    places === (isOpen ? 1 : 0),
    "no task is lost, none is in two places",
    () => `${id} ${state} in ${places} places`,
  );
  if (!isOpen) book.holder = undefined;
  const { holder } = book;
  const live = holder === undefined || holder.late ? undefined : holder;
  demand(lease?.token === live?.token, "a lease has one holder", () => `${id}: ${lease?.token}, not ${live?.token}`);
  const late = holder?.late === true && isOpen ? holder.token : undefined;
  demand(ready?.late?.token === late, "a late token counts until the next claim", () => `${id}: ${late}`);
  if (isOpen) {
    demand(
      task.deliveries === book.deliveries,
      "losses are counted",
      () => `${id}: ${task.deliveries}, not ${book.deliveries}`,
    );
    demand(task.attempt === book.attempt, "attempts are counted", () => `${id}: ${task.attempt}, not ${book.attempt}`);
  }
  demand(task.deliveries <= 10, "deliveries are bounded", () => `${id}: ${task.deliveries}`);
  const journal = tables.journals.get(id)?.length ?? 0;
  demand(
    journal === book.journal.length,
    "what is recorded stays",
    () => `${id}: ${journal} entries, not ${book.journal.length}`,
  );
}

// Every change of a task has its record in the same transaction; a task that has ended changes no more.
function checkChange(book: TaskBook, task: TaskRow, { tables }: Driver): void {
  const lease = tables.leases.get(task.id)?.token;
  const seen = `${task.state} ${lease ?? ""} ${task.attempt}`;
  if (seen === book.seen) return;
  const isNew = book.seen === "";
  if (isNew) {
    const head = HEAD_START_MS[FLOWS[task.run.flow]?.priority ?? "normal"];
    demand(task.claimOrder === tables.nowMs - head, "priority is a bounded head start", () => task.id);
  }
  const wasEnded = ENDED.includes(book.state) || book.state === "DEAD_LETTERED";
  demand(!wasEnded, "an ended task stays as it is", () => `${task.id}: ${book.seen} became ${seen}`);
  const late = book.holder;
  // A late token that counts again is told by the record of its fact; a denied claim by that of the task's end.
  const isTold = tables.records.some(
    ({ kind, of }) => (of === task.id && CHANGE_KINDS.test(kind)) || of === task.run.id,
  );
  const isRevived = lease !== undefined && lease === late?.token && task.state === "READY";
  demand(isNew || isTold || isRevived, "no change without its record", () => `${task.id}: ${book.seen} became ${seen}`);
  book.seen = seen;
  book.state = task.state;
}

function checkRun(books: Books, run: RunRow, traced: Traced, { tables }: Driver): void {
  const before = books.runStates.get(run.id);
  const now = run.graph.run;
  // A task that was replayed is no part of its run any more.
  const tasks = [...tables.tasks.values()].filter((task) => task.run === run && task.letter !== "replayed");
  if (before !== now) {
    demand(
      before === undefined || !ENDED.includes(before),
      "an ended run stays as it is",
      () => `${run.id}: ${before} became ${now}`,
    );
    const isTold = tables.records.some(({ of }) => of === run.id || tasks.some((task) => task.id === of));
    demand(isTold, "no change without its record", () => `${run.id}: ${before} became ${now}`);
    books.runStates.set(run.id, now);
  }
  const open = tasks.filter((task) => task.state === "READY" || task.state === "WAITING");
  const parked = tasks.some((task) => task.state === "DEAD_LETTERED");
  if (ENDED.includes(now))
    demand(open.length === 0, "an ended run has no task that can act", () => `${run.id}: ${open[0]?.id}`);
  else demand(open.length > 0 || parked, "a run ends when nothing can act", () => `${run.id} is ${now}`);
  if (now === "SUCCEEDED") {
    demand(
      tasks.every((task) => task.state === "SUCCEEDED"),
      "a run succeeds by its tasks",
      () => run.id,
    );
  }
  if (now === "CANCELLING") {
    const idle = open.find((task) => !tables.leases.has(task.id));
    demand(idle === undefined, "a stopping run queues nothing", () => `${run.id}: ${idle?.id}`);
  }
  if (before === "CANCELLING" && isOverdue(run, traced)) {
    demand(ENDED.includes(now), "a stopped run ends with its grace", () => `${run.id} is ${now}`);
  }
  checkGraph(run, tasks);
}

// The end of its grace, or of its time, was found and settled.
function isOverdue(run: RunRow, { op, result }: Traced): boolean {
  if (op.op !== "settle") return false;
  const index = op.items.findIndex((item) => item.type === "run_due" && item.run === run.id);
  return index >= 0 && result?.verdicts?.[index] === "committed";
}

/** Incoming edges of each node of each flow. */
const INCOMING = FLOWS.map(({ nodes, edges }) => {
  const split = edges.map((text) => text.split(" "));
  return nodes.map((node) => ({ node, edges: split.filter(([, to]) => to === node) }));
});

// A node has a task once, and exactly when its edges say so. Outputs are read from the graph's rows.
function checkGraph(run: RunRow, tasks: readonly TaskRow[]): void {
  const made = new Map(tasks.map((task) => [task.node, task]));
  demand(
    made.size === tasks.length,
    "a join fires once",
    () => `${run.id}: ${tasks.map((task) => task.node).join(" ")}`,
  );
  for (const { node, edges } of INCOMING[run.flow] ?? []) {
    const taken = edges.filter(([from = "", , how]) => {
      if (made.get(from)?.state !== "SUCCEEDED") return false;
      if (how === undefined) return true;
      const { x } = (run.graph.nodes.get(from)?.output ?? {}) as { x?: boolean };
      return how === "when" ? x === true : x === false;
    });
    const isDue = edges.length === 0 || taken.length === edges.length;
    if (made.has(node)) demand(isDue, "a task has its edge", () => `${run.id} ${node}`);
    else if (run.graph.run === "RUNNING") demand(!isDue, "what is due is queued", () => `${run.id} ${node}`);
  }
}
