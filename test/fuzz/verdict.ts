// Judges a fuzz run: the bounds of event loop, memory, and time, and everything that was noted on the way. Called by main.ts and the test.

import type { FrameReport } from "./frame_run.ts";
import type { Violation } from "./violations.ts";
import type { YamlReport } from "./yaml_batches.ts";

/** A thread that uses so much CPU time without coming round blocked its loop. */
export const BLOCK_MS_MAX = 100;
/** By the clock a loaded machine makes every loop late; beyond this even that is no excuse. */
export const DELAY_MS_MAX = 2_000;
/** Growth of the resident set after the warm-up. */
export const GROWTH_MIB_MAX = 64;

export function judge(yaml: YamlReport, frames: FrameReport) {
  const block = Math.max(yaml.block, frames.block);
  const delay = Math.max(yaml.delay, frames.delay);
  const growth = Math.max(yaml.growth, frames.growth ?? 0);
  const violations: Violation[] = [...yaml.violations, ...frames.violations];
  const bound = (name: string, value: number, max: number) => {
    if (value < max) return;
    violations.push({
      problem: `${name} is ${value.toFixed(1)}, at most ${max} is allowed`,
      name,
      input: Buffer.alloc(0),
    });
  };
  bound("loop_block_ms_max", block, BLOCK_MS_MAX);
  bound("loop_delay_ms_max", delay, DELAY_MS_MAX);
  bound("rss_growth_mb", growth, GROWTH_MIB_MAX);
  const tenths = (value: number) => Math.round(value * 10) / 10;
  const figures = {
    yaml: yaml.documents,
    frames: frames.frames,
    process_exits: yaml.exits + frames.exits,
    loop_block_ms_max: tenths(block),
    loop_delay_ms_max: tenths(delay),
    rss_growth_mb: tenths(growth),
    yaml_slowest_ms: tenths(yaml.slowest),
    yaml_refused_as_too_slow: yaml.tooSlow,
    yaml_valid: yaml.valid,
    sessions: frames.sessions,
    api_calls: frames.calls,
    tasks_leased: frames.leased,
    healthy_calls: frames.healthyCalls,
    healthy_slowest_ms: tenths(frames.slowestHealthyMs),
    session_ends: frames.statuses,
  };
  return { figures, violations };
}
