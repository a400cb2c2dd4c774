// What every suite is given, and what it is. Types only.
// Read by main.ts and the suites.

import type { Cleanup } from "../demo/fleet.ts";
import type { Clock } from "../kit/clock.ts";
import type { Settings } from "./options.ts";

/** What a suite works with. */
export interface SuiteContext {
  readonly settings: Settings;
  readonly clock: Clock;
  /** Tells a person how far it is. */
  readonly progress: (line: string) => void;
  /** Undoes what was started; main.ts runs it. */
  readonly cleanup: Cleanup;
}

/** A suite: its figures as an object. @throws Error when what was measured is not what it should be */
export type Suite = (context: SuiteContext) => Promise<object>;
