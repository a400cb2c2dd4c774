// What a run looks like in a terminal: the graph with each node's state, tool calls with their decisions, the output.
// Called by watch_run.ts, describe and the demo. Pure: snapshots in, lines out; now comes in as a value.
// Lines never hold control characters but the colours that paint adds.

import type { AuditRecord, Run, RunSnapshot, Task } from "../sdk/index.ts";
import { describeRecord, isCallOrDecision, type TaskNames } from "./audit_text.ts";
import { duration, millis, nodeStateName, pairs, runStateName, span, taskStateName, timeOfDay } from "./format.ts";
import { drawGraph, drawnNode, listNodes } from "./graph_drawing.ts";
import { type GraphNode, graphOfRun, itemsOf } from "./graph_model.ts";
import { cutTo, safeLine, safeText } from "./sanitize.ts";
import { lookOf, type Paint } from "./style.ts";

/** Everything known of a run so far. */
export interface RunView {
  readonly run: Run;
  readonly tasks: readonly Task[];
  /** Audit records, oldest first; the newest EVENTS_MAX. */
  readonly events: readonly AuditRecord[];
}

/** Room and colours for a rendering. */
export interface RenderOptions {
  readonly columns: number;
  readonly rows: number;
  readonly nowMs: number;
  readonly paint: Paint;
}

const EVENTS_MAX = 2_000;
const CALLS_SHOWN = 8;
const OUTPUT_ROWS_MAX = 12;

/** The view after one more snapshot. */
export function mergeSnapshot(previous: RunView | undefined, snapshot: RunSnapshot): RunView {
  const run = snapshot.run;
  if (run.edges.length === 0 && previous !== undefined) run.edges = previous.run.edges;
  return { run, tasks: snapshot.tasks, events: [...(previous?.events ?? []), ...snapshot.events].slice(-EVENTS_MAX) };
}

/** Node of each task, with its item and iteration where there are several. */
export function taskNames(tasks: readonly Task[]): TaskNames {
  return new Map(
    tasks.map((task) => {
      const item = task.item >= 0 ? `[${task.item}]` : "";
      const iteration = task.iteration > 0 ? `#${task.iteration}` : "";
      return [task.id, `${task.node}${item}${iteration}`];
    }),
  );
}

/** The whole view, for drawing in place. Fits the rows where it can; the live area cuts what does not. */
export function renderRun(view: RunView, options: RenderOptions): string[] {
  const { paint } = options;
  const head = renderHead(view.run, options);
  const calls = renderCalls(view, CALLS_SHOWN, options);
  const end = renderEnd(view.run, paint, OUTPUT_ROWS_MAX);
  const room = { ...options, rows: Math.max(6, options.rows - head.length - calls.length - end.length - 4) };
  return [
    ...head,
    "",
    ...renderGraph(view, room),
    ...block("Tool calls and decisions", calls, paint),
    ...block("", end, paint),
  ];
}

/** Identity, state and requester of a run. */
export function renderHead(run: Run, { paint, nowMs, columns }: RenderOptions): string[] {
  const state = runStateName(run.state);
  const look = lookOf(state);
  const time = span(run.createTime, run.endTime, nowMs);
  const conditions = run.conditions.length === 0 ? "" : `  ${paint("warn", safeLine(run.conditions.join(", ")))}`;
  const by = run.requester === undefined ? "" : `requester ${run.requester.id}`;
  const tags = Object.keys(run.tags).length === 0 ? "" : `tags ${pairs(run.tags)}`;
  const about = [by, tags].filter((part) => part !== "").join(" · ");
  return [
    `${paint("bold", safeLine(`${run.namespace}/${run.workflow}`))}  ${safeLine(run.id)}  ${paint(look.tone, `${look.sign} ${state}`)}  ${time}${conditions}`,
    ...(about === "" ? [] : [paint("dim", cutTo(safeLine(about), columns))]),
  ];
}

/** The graph as a drawing, or as a list where it does not fit. */
export function renderGraph(view: RunView, options: RenderOptions): string[] {
  const graph = graphOfRun(view.run, runStateName(view.run.state));
  const nodes = graph.nodes.map((node) => drawnNode(node, stateWords(node, view, options)));
  if (nodes.length === 0) return [];
  const edges = graph.edges.map(({ from, to, loop }) => ({ from, to, isBack: loop !== undefined }));
  return drawGraph(nodes, edges, options, options.paint) ?? listNodes(nodes, edges, options);
}

function stateWords(node: GraphNode, view: RunView, { nowMs }: RenderOptions): string {
  const items = itemsOf(node);
  return `${stateOf(node.state ?? "", node.name, view, nowMs)}${items === undefined ? "" : ` ${items}`}`;
}

function stateOf(state: string, node: string, view: RunView, nowMs: number): string {
  const tasks = view.tasks.filter((task) => task.node === node);
  const attempt = Math.max(0, ...tasks.map((task) => task.attempt));
  const tries = attempt > 1 ? ` try ${attempt}` : "";
  const starts = tasks.map((task) => millis(task.createTime)).filter((time) => time !== undefined);
  if (starts.length === 0) return state.toLowerCase();
  const ends = tasks.map((task) => millis(task.endTime));
  const end = ends.every((time) => time !== undefined) ? Math.max(...ends) : nowMs;
  return `${state.toLowerCase()} ${duration(end - Math.min(...starts))}${tries}`;
}

/** The newest tool calls and decisions, a line each. */
export function renderCalls(view: RunView, shown: number, { paint, columns }: RenderOptions): string[] {
  const names = taskNames(view.tasks);
  return view.events
    .filter(isCallOrDecision)
    .slice(-shown)
    .map((event) => {
      const { kind, subject, detail, tone } = describeRecord(event, names);
      return paint(tone, cutTo(`  ${subject.padEnd(12)}  ${kind.padEnd(16)}  ${detail}`, columns));
    });
}

/** How a finished run ended: its output, or its failure; nothing before. */
export function renderEnd(run: Run, paint: Paint, rowsMax: number): string[] {
  if (run.failure !== undefined) {
    return [paint("bad", safeLine(`${run.failure.class}: ${run.failure.message}`))];
  }
  if (run.outputJson === "") return [];
  const lines = safeText(prettyJson(run.outputJson)).split("\n");
  const cut =
    lines.length > rowsMax ? [...lines.slice(0, rowsMax - 1), `… ${lines.length - rowsMax + 1} more lines`] : lines;
  return [paint("bold", "Output"), ...cut.map((line) => `  ${line}`)];
}

/**
 * What changed between two views, a line each, for output that is no terminal.
 * Transitions of the run, its nodes and tasks; tool calls and decisions; at the end the output.
 */
export function transitionLines(previous: RunView | undefined, next: RunView, nowMs: number): string[] {
  const names = taskNames(next.tasks);
  const lines: string[] = [];
  const add = (ms: number | undefined, text: string) => lines.push(`${timeOfDay(ms ?? nowMs)}  ${text}`);
  const { run } = next;
  const told = new Set(previous?.events);
  for (const event of next.events.filter((one) => isCallOrDecision(one) && !told.has(one))) {
    const { kind, subject, detail } = describeRecord(event, names);
    add(millis(event.time), `${kind}  ${subject}  ${detail}`.trimEnd());
  }
  const tasksBefore = new Map(previous?.tasks.map((task) => [task.id, task]));
  for (const task of next.tasks) {
    const before = tasksBefore.get(task.id);
    if (before?.state === task.state && before.attempt === task.attempt && before.worker === task.worker) continue;
    const worker = task.worker === "" ? "" : `  worker ${safeLine(task.worker)}`;
    const failure = task.failure === undefined ? "" : `  ${safeLine(`${task.failure.class}: ${task.failure.message}`)}`;
    const state = taskStateName(task.state);
    add(
      millis(task.endTime),
      `task  ${safeLine(names.get(task.id) ?? task.id)}  ${state}  attempt ${task.attempt}${worker}${failure}`,
    );
  }
  const nodesBefore = new Map(previous?.run.nodes.map((node) => [node.name, node]));
  for (const node of run.nodes) {
    const before = nodesBefore.get(node.name);
    if (before?.state === node.state && before.iteration === node.iteration) continue;
    add(undefined, `node  ${safeLine(node.name)}  ${nodeStateName(node.state)}`);
  }
  const conditions = run.conditions.filter((condition) => !previous?.run.conditions.includes(condition));
  const missing = run.waitingFor.length === 0 ? "" : `: no worker has ${run.waitingFor.join("; ")}`;
  for (const condition of conditions) {
    const why = condition === "Unschedulable" ? missing : "";
    add(undefined, `run  ${safeLine(run.id)}  ${safeLine(`${condition}${why}`)}`);
  }
  if (previous?.run.state !== run.state)
    add(millis(run.endTime), `run  ${safeLine(run.id)}  ${runStateName(run.state)}`);
  return lines;
}

/** JSON text with two spaces of indent; other text unchanged. */
export function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}

function block(title: string, lines: readonly string[], paint: Paint): string[] {
  if (lines.length === 0) return [];
  return ["", ...(title === "" ? [] : [paint("bold", title)]), ...lines];
}
