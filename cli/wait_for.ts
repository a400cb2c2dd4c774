// What `orloj wait --for` may say: each word, and for what it can be waited.
// Called by wait.ts. Pure.
// What does not fit is a usage error that lists what does.

import { TaskState } from "../sdk/index.ts";
import { UsageError } from "./failure.ts";

/** What is waited for: any of its members is enough. */
export interface Want {
  readonly states: readonly string[];
  readonly conditions: readonly string[];
  /** Conditions that are not to be there. */
  readonly absent: readonly string[];
  readonly ended: boolean;
  readonly deleted: boolean;
  readonly none: boolean;
  /** Active workers at least. */
  readonly active?: number;
}

/** Things that can be waited for, with the words that fit each. */
const WORDS = {
  run: ["end", "state=S", "condition=C", "no-condition=C", "delete"],
  task: ["end", "state=S"],
  workers: ["active=N", "none"],
  worker: ["state=S", "delete"],
  "dead-letters": ["none", "any"],
  resource: ["any", "delete"],
} as const;

/** Names of all states of tasks. */
export const TASK_STATES: readonly string[] = Object.keys(TaskState).filter(
  (one) => /^[A-Z]/.test(one) && one !== "UNSPECIFIED",
);

/** True for a state that a task never leaves. */
export function isFinalTask(state: string): boolean {
  return !["WAITING", "READY", "LEASED"].includes(state);
}

/** The wants of a line; without any, the end. @param states that the thing may have @throws UsageError */
export function wantOf(
  given: readonly string[] | undefined,
  thing: keyof typeof WORDS,
  states: readonly string[],
): Want {
  const want = { states: [] as string[], conditions: [] as string[], absent: [] as string[] };
  const flags = { ended: false, deleted: false, none: false };
  let active: number | undefined;
  for (const word of given ?? ["end"]) {
    const [name = "", value] = splitOnce(word);
    const pattern = value === undefined ? name : `${name}=${name === "active" ? "N" : name === "state" ? "S" : "C"}`;
    if (!(WORDS[thing] as readonly string[]).includes(pattern) || value === "") {
      throw new UsageError(`--for ${word}: this cannot be waited for here`, `use ${WORDS[thing].join(", ")}`);
    }
    if (name === "state") want.states.push(stateIn(states, value as string));
    else if (name === "condition") want.conditions.push(value as string);
    else if (name === "no-condition") want.absent.push(value as string);
    else if (name === "active") active = countOf(word, value as string);
    else if (name === "end") flags.ended = true;
    else if (name === "delete") flags.deleted = true;
    else if (name === "none") flags.none = true;
  }
  return { ...want, ...flags, ...(active === undefined ? {} : { active }) };
}

function splitOnce(word: string): [string, string | undefined] {
  const equals = word.indexOf("=");
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}

function stateIn(states: readonly string[], text: string): string {
  const wanted = text.toUpperCase().replaceAll("-", "_");
  const found = states.find((state) => state.toUpperCase() === wanted);
  if (found === undefined) {
    throw new UsageError(`--for state=${text}: there is no such state`, `use one of ${states.join(", ")}`);
  }
  return found;
}

function countOf(word: string, text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`--for ${word}: use a whole number from 1, such as active=2`);
  return Number(text);
}
