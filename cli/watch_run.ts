// Shows a run while it goes on: drawn in place on a terminal, a line a transition elsewhere.
// Called by invoke --watch, dev, and the demo.
// Reads snapshots only; stopping to watch does not touch the run.

import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";
import { NodeState, type Run, type RunSnapshot } from "../sdk/index.ts";
import { LiveArea, type Screen } from "./live.ts";
import { mergeSnapshot, type RunView, renderEnd, renderRun, transitionLines } from "./run_view.ts";
import { type Paint, palette } from "./style.ts";

const REDRAW_MS = SECOND / 4;
const OUTPUT_ROWS_MAX = 200;

/** Where a run is shown. */
export interface Show {
  readonly clock: Clock;
  readonly paint: Paint;
  /** Set when standard output is a terminal. */
  readonly screen: Screen | undefined;
  /** Prints a line; used without a screen. */
  readonly print: (line: string) => void;
}

/**
 * Shows snapshots until they end.
 *
 * @returns the last view; undefined when there was no snapshot.
 * @throws whatever the snapshots throw, after the drawing is left in order.
 */
export async function watchRun(snapshots: AsyncIterable<RunSnapshot>, show: Show): Promise<RunView | undefined> {
  return show.screen === undefined ? watchAsLines(snapshots, show) : watchInPlace(snapshots, show, show.screen);
}

async function watchAsLines(snapshots: AsyncIterable<RunSnapshot>, show: Show): Promise<RunView | undefined> {
  let view: RunView | undefined;
  for await (const snapshot of snapshots) {
    const next = mergeSnapshot(view, snapshot);
    for (const line of transitionLines(view, next, show.clock.now())) show.print(line);
    view = next;
  }
  if (view !== undefined) for (const line of renderEnd(view.run, palette(false), OUTPUT_ROWS_MAX)) show.print(line);
  return view;
}

async function watchInPlace(
  snapshots: AsyncIterable<RunSnapshot>,
  show: Show,
  screen: Screen,
): Promise<RunView | undefined> {
  const area = new LiveArea(screen);
  let view: RunView | undefined;
  let cancelTimer = () => {};
  const render = (current: RunView) =>
    renderRun(current, { ...screen.size(), nowMs: show.clock.now(), paint: show.paint });
  // Running times advance between snapshots too.
  const tick = () => {
    if (view !== undefined) area.draw(render(view));
    cancelTimer = show.clock.after(REDRAW_MS, tick);
  };
  tick();
  try {
    for await (const snapshot of snapshots) {
      view = mergeSnapshot(view, snapshot);
      area.draw(render(view));
    }
  } finally {
    cancelTimer();
    area.finish(view === undefined ? [] : render(view));
  }
  return view;
}

/** True for a parked run with nothing at work: it ends only when somebody acts, and to wait for it would be to hang. */
export function isStuck(run: Run): boolean {
  return run.conditions.includes("Parked") && !run.nodes.some((node) => node.state === NodeState.ACTIVE);
}

/** Snapshots until the run is finished, or stuck. */
export async function* untilStuck(snapshots: AsyncIterable<RunSnapshot>): AsyncGenerator<RunSnapshot> {
  for await (const snapshot of snapshots) {
    yield snapshot;
    if (isStuck(snapshot.run)) return;
  }
}
