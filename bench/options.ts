// What `npm run bench` may be told, and what it says about everything else.
// Read by main.ts. Pure. Each suite has flags of its own, with defaults; a flag that a suite would not look at is refused.

import { parseArgs } from "node:util";
import { ITEMS_MAX } from "./manifests.ts";

/** Flags with a number, and the largest one that each takes. */
const NUMBERS = {
  runs: 10_000_000,
  "in-flight": 1_000,
  "warm-up": 1_000_000,
  rounds: 99,
  "raw-tasks": 10_000_000,
  "peer-seconds": 86_400,
  samples: 1_000_000,
  records: 50_000_000,
  seconds: 86_400,
  workers: 500,
  items: ITEMS_MAX,
  backlog: 1_000_000,
  "snapshot-seconds": 3_600,
} as const;

/** Flags with a list of numbers, and the largest one that each takes. */
const LISTS = { finished: 10_000_000, replicas: 9 } as const;

type NumberFlag = keyof typeof NUMBERS;
type ListFlag = keyof typeof LISTS;
type Defaults = Readonly<Partial<Record<NumberFlag, number> & Record<ListFlag, readonly number[]>>> & {
  /** Takes --peers, --profile. */
  readonly peers?: true;
  readonly profile?: true;
};

const THROUGHPUT: Defaults = {
  ...{ runs: 5_000, "in-flight": 50, "warm-up": 2_000, rounds: 1, "raw-tasks": 100_000, "peer-seconds": 300 },
  ...{ peers: true, profile: true },
};

/** The suites, and what each may be told. */
export const SUITES = {
  noop: THROUGHPUT,
  steps3: THROUGHPUT,
  tools: THROUGHPUT,
  fanout: { items: 1_000, rounds: 5, "in-flight": 50 },
  latency: { samples: 300, "warm-up": 500, "in-flight": 50 },
  idle: { workers: 50, seconds: 60, profile: true },
  growth: {
    ...{ finished: [0, 100_000, 1_000_000], backlog: 100_000, "snapshot-seconds": 120 },
    ...{ runs: 5_000, "warm-up": 2_000, samples: 100, "in-flight": 50 },
  },
  scale: { replicas: [1, 2, 3], runs: 10_000, "warm-up": 2_000, "in-flight": 50 },
  decide: { samples: 20_000 },
  mem: { runs: 100_000, seconds: 300, "in-flight": 50 },
  audit: { records: 1_000_000, seconds: 4 },
} as const satisfies Readonly<Record<string, Defaults>>;

/** Rounds of a comparison unless it is told. */
const ROUNDS_WITH_PEERS = 5;

/** Name of a suite. */
export type SuiteName = keyof typeof SUITES;

/** What is set, for the suites that look at it; 0 and empty for the others. */
export interface Settings {
  readonly suite: SuiteName;
  readonly runs: number;
  readonly inFlight: number;
  readonly warmUp: number;
  readonly rounds: number;
  readonly rawTasks: number;
  readonly peerSeconds: number;
  readonly samples: number;
  readonly records: number;
  readonly seconds: number;
  readonly workers: number;
  readonly items: number;
  readonly backlog: number;
  readonly snapshotSeconds: number;
  readonly finished: readonly number[];
  readonly replicas: readonly number[];
  readonly peers: boolean;
  readonly profileFolder?: string;
  readonly json: boolean;
}

/** What --help prints. */
export const HELP = `Usage: npm run bench -- [options]

  --suite NAME            noop (default): runs of one node a second, and what one costs in Postgres
                          steps3: runs of three nodes in a row; tools: an agent that calls one tool
                          fanout: a map over many items; latency: an idle system, run by run
                          idle: what a replica with idle workers asks of Postgres; mem: memory after many runs
                          growth: with finished runs, an open snapshot, and a queue beside it
                          scale: one, two and three replicas; decide: policies in process; audit: a long trail
  --json                  nothing but the JSON line on stdout
  --peers                 noop, steps3, tools: other engines in alternating rounds (npm ci --prefix bench/peers)
  --rounds N              rounds, of which the median counts; default 1, with --peers ${ROUNDS_WITH_PEERS}, of fanout 5
  --runs N                runs of a round or stage; default 5000, of scale 10000, of mem 100000
  --in-flight N           runs between Invoke and their end at the same time, and slots of each worker; default 50
  --warm-up N             runs before the measured ones; default 2000, of latency 500
  --raw-tasks N           tasks of the raw limit beside --peers; default 100000
  --peer-seconds N        what a round of another engine may take; it has failed then, and the others go on; default 300
  --samples N             latency, growth: invocations one by one, default 300 and 100; decide: decisions, default 20000
  --seconds N             idle, mem: the measured time; default 60 and 300; audit: of each window of its writers, default 4
  --workers N             idle: workers; default 50
  --items N               fanout: items of the map; default 1000
  --finished A,B,…        growth: finished runs of each stage; default 0,100000,1000000
  --backlog N             growth: tasks queued on another route; default 100000
  --snapshot-seconds N    growth: how long a snapshot stays open; default 120
  --replicas A,B,…        scale: numbers of replicas; default 1,2,3
  --records N             audit: records of the trail; default 1000000
  --profile DIR           noop, steps3, tools, idle: CPU profiles of server and worker; the numbers are then lower
`;

/** Undefined: help is asked for. @throws Error with what is wrong and what is allowed */
export function readOptions(args: readonly string[]): Settings | undefined {
  const values = parse(args);
  if (values.help === true) return undefined;
  const suite = suiteOf(values.suite ?? "noop");
  const defaults: Defaults = SUITES[suite];
  for (const flag of Object.keys(values)) {
    if (["suite", "json", "help"].includes(flag) || Object.hasOwn(defaults, flag)) continue;
    const own = Object.keys(defaults).map((name) => `--${name}`);
    throw new Error(`--${flag}: the suite ${suite} does not look at it; it takes ${own.join(", ")}`);
  }
  const peers = values.peers === true;
  const number = (flag: NumberFlag) => numberOf(flag, values[flag], defaults[flag] ?? 0);
  const list = (flag: ListFlag) => listOf(flag, values[flag], defaults[flag] ?? []);
  return {
    ...{ suite, peers, json: values.json === true },
    ...{ runs: number("runs"), inFlight: number("in-flight"), warmUp: number("warm-up") },
    rounds: numberOf("rounds", values.rounds, peers ? ROUNDS_WITH_PEERS : (defaults.rounds ?? 0)),
    ...{ rawTasks: number("raw-tasks"), peerSeconds: number("peer-seconds") },
    ...{ samples: number("samples"), records: number("records") },
    ...{ seconds: number("seconds"), workers: number("workers"), items: number("items") },
    ...{ backlog: number("backlog"), snapshotSeconds: number("snapshot-seconds") },
    ...{ finished: list("finished"), replicas: list("replicas") },
    ...(values.profile !== undefined && { profileFolder: values.profile }),
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const texts = Object.fromEntries(
    [...Object.keys(NUMBERS), ...Object.keys(LISTS)].map((name) => [name, text]),
  ) as Record<NumberFlag | ListFlag, typeof text>;
  try {
    const options = { ...texts, suite: text, profile: text, json: flag, peers: flag, help: { ...flag, short: "h" } };
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new Error(`${(error as Error).message.split("\n")[0]}\n\n${HELP}`);
  }
}

function suiteOf(name: string): SuiteName {
  if (Object.hasOwn(SUITES, name)) return name as SuiteName;
  throw new Error(`--suite: "${name}" is none of ${Object.keys(SUITES).join(", ")}`);
}

function numberOf(flag: NumberFlag, text: string | undefined, otherwise: number): number {
  return text === undefined ? otherwise : within(flag, text, 1, NUMBERS[flag]);
}

function listOf(flag: ListFlag, text: string | undefined, otherwise: readonly number[]): readonly number[] {
  // An empty database is a stage, and no replica is none.
  const least = flag === "finished" ? 0 : 1;
  return text === undefined ? otherwise : text.split(",").map((each) => within(flag, each, least, LISTS[flag]));
}

function within(flag: string, text: string, least: number, most: number): number {
  const value = /^\d{1,8}$/.test(text) ? Number(text) : -1;
  if (value < least || value > most)
    throw new Error(`--${flag}: "${text}" is not a whole number from ${least} to ${most}`);
  return value;
}
