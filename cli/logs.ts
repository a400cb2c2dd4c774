// The verb `orloj logs`: what was logged about the tasks of a run, or about one task, and what still comes.
// Called by main.ts.
// JSON: {"items": […], "more": …}; with --follow one chunk a line. A lost stream is taken up again, and no chunk is shown twice.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type TaskLogChunk, TaskLogChunkSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { following } from "./following.ts";
import { instant } from "./format.ts";
import { presentable } from "./json_output.ts";
import { parseMoment } from "./options.ts";
import { allPages } from "./pages.ts";
import { safeLine } from "./sanitize.ts";
import type { Tone } from "./style.ts";

interface Options {
  readonly follow?: boolean;
  readonly since?: string;
  readonly node?: string;
  readonly level?: string;
}

const LEVELS: readonly string[] = ["debug", "info", "warn", "error"];
const TONES: Readonly<Record<string, Tone>> = { debug: "dim", warn: "warn", error: "bad" };
const CHUNKS_MAX = 10_000;
const PAGE_CHUNKS_MAX = 50;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("logs")
    .description("Show what was logged about the tasks of a run, or about one task.")
    .argument("<run|task>", "id of a run or of a task")
    .option("-f, --follow", "go on with what comes, until the run or the task has ended")
    .option("--since <time>", "from this time: a duration back such as 15m, or RFC 3339")
    .option("--node <name>", "of a run: tasks of this node alone")
    .option("--level <level>", `lines of this level and above: ${LEVELS.join(", ")}`, levelOf)
    .action((id: string, options: Options) => {
      const filter = filterOf(id, options, context.host.clock.now());
      const shown = new Shown(context, options.level ?? "debug", filter.taskId === "");
      return options.follow ? follow(context, filter, shown) : list(context, filter, shown);
    });
}

function levelOf(level: string): string {
  if (LEVELS.includes(level)) return level;
  throw new UsageError(`--level ${level}: there is no such level`, `use one of ${LEVELS.join(", ")}`);
}

function filterOf(id: string, { since, node = "" }: Options, nowMs: number) {
  const isTask = id.startsWith("task_");
  if (!isTask && !id.startsWith("run_")) {
    throw new UsageError(`${id} is no id of a run or a task`, "orloj runs, or orloj tasks RUN");
  }
  if (isTask && node !== "") throw new UsageError("--node is for the logs of a run", `orloj logs ${id}`);
  return {
    ...(isTask ? { runId: "", taskId: id } : { runId: id, taskId: "" }),
    node,
    ...(since === undefined ? {} : { since: timestampFromMs(parseMoment("--since", since, nowMs)) }),
  };
}

async function list(context: Context, filter: ReturnType<typeof filterOf>, shown: Shown): Promise<void> {
  const { items, more } = await allPages(
    async (pageToken, pageSize) => {
      const page = await context.client.workflows.listTaskLogs({ ...filter, pageToken, pageSize });
      return { items: page.chunks, nextPageToken: page.nextPageToken };
    },
    CHUNKS_MAX,
    PAGE_CHUNKS_MAX,
  );
  if (context.json) {
    context.printJson({ items: items.map((chunk) => presentable(TaskLogChunkSchema, chunk)), more });
    return;
  }
  shown.add(items);
  if (!shown.any) context.note("Nothing was logged: no worker had it yet, or ORLOJ_TASK_LOGS is off there.");
  if (more) context.note(`The first ${CHUNKS_MAX} chunks only; narrow with --node or --since, or name a task.`);
}

async function follow(context: Context, filter: ReturnType<typeof filterOf>, shown: Shown): Promise<void> {
  const open = (signal: AbortSignal) => context.client.workflows.watchTaskLogs(filter, { signal });
  await following(context, open, ({ chunks }) => shown.add(chunks), "return");
}

// Shows chunks, each once.
class Shown {
  any = false;
  readonly #context: Context;
  readonly #least: number;
  readonly #places: boolean;
  readonly #seen = new Set<bigint>();

  constructor(context: Context, least: string, places: boolean) {
    this.#context = context;
    this.#least = LEVELS.indexOf(least);
    this.#places = places;
  }

  add(chunks: readonly TaskLogChunk[]): void {
    for (const chunk of chunks) {
      if (this.#seen.has(chunk.id)) continue;
      this.#seen.add(chunk.id);
      this.any = true;
      if (this.#context.json) this.#context.printJsonLine(presentable(TaskLogChunkSchema, chunk));
      else this.#context.print(...this.#lines(chunk));
    }
  }

  #lines(chunk: TaskLogChunk): string[] {
    const { paint } = this.#context;
    const place = this.#places ? `${paint("bold", placeOf(chunk))} ` : "";
    const missing = chunk.dropped === 1 ? "1 line is missing" : `${chunk.dropped} lines are missing`;
    const gap = chunk.dropped === 0 ? [] : [paint("dim", `… ${safeLine(placeOf(chunk))}: ${missing} …`)];
    const lines = chunk.lines
      .filter(({ level }) => LEVELS.indexOf(level) >= this.#least)
      .map(({ time, level, text }) => {
        return `${instant(time)} ${place}${paint(TONES[level] ?? "plain", level.padEnd(5))} ${safeLine(text)}`;
      });
    return [...gap, ...lines];
  }
}

// Node, item and iteration as the table of tasks has them, and the attempt once there is more than one.
function placeOf({ node, item, iteration, attempt, delivery }: TaskLogChunk): string {
  const place = `${node}${item >= 0 ? `[${item}]` : ""}${iteration > 0 ? `#${iteration}` : ""}`;
  const again = [attempt > 1 ? `attempt ${attempt}` : "", delivery > 0 ? `delivery ${delivery}` : ""];
  const words = again.filter((word) => word !== "").join(", ");
  return safeLine(words === "" ? place : `${place} (${words})`);
}
