// What a test expects of one blueprint: the runs that its case file lists.
// Used by blueprints.test.ts and by the case files beside this one, one a blueprint.
// A new blueprint is a folder of examples/ and a case here; the test fails while one of them is missing.

import type { Person, RunHandle } from "../../../sdk/index.ts";
import type { Stage } from "../stage.ts";
import type { SandboxProcess } from "./sandbox.ts";

/** One invocation by SDK, and what must come of it. */
export interface BlueprintRun {
  /** What it shows, as the name of its test. */
  readonly shows: string;
  readonly workflow: string;
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly tags?: Readonly<Record<string, string>>;
  /** Who asks; the person of the development token unless given. */
  readonly person?: Person;
  /** State that the run ends in; SUCCEEDED unless given. */
  readonly state?: string;
  /** The whole output of a run that succeeds. */
  readonly output?: unknown;
  /** State of every node at the end. */
  readonly nodes: Readonly<Record<string, string>>;
  /** What else is special about it: rounds, items, calls, effects on the sandbox. */
  readonly also?: (stage: Stage, run: RunHandle, sandbox: SandboxProcess) => Promise<void>;
}

/** Everything expected of one blueprint, in order: its runs share one namespace. */
export type BlueprintCase = readonly BlueprintRun[];
