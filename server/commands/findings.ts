// What a look at the health of a control plane says, and how looks are run: one that cannot look says so, and the others go on.
// Called by diagnose.ts and its looks. Ids are stable: docs/doctor.md lists them, scripts may rely on them.

import { messageOf } from "../../kit/errors.ts";

/** ok: looked, and nothing is wrong. warning: will be wrong, or is for somebody. error: work is lost, refused, or stands still. */
export type Severity = "ok" | "warning" | "error";

/** What one look found. */
export interface Finding {
  /** Such as "queue.unschedulable". */
  readonly id: string;
  readonly severity: Severity;
  /** What it is about: a resource, a route, a file; empty for the whole. */
  readonly subject: string;
  readonly message: string;
  /** What to do; empty if nothing. */
  readonly nextStep: string;
}

/** A finding of something that is as it should be. */
export function fine(id: string, message: string, subject = ""): Finding {
  return { id, severity: "ok", subject, message, nextStep: "" };
}

/** A finding of something that is not. */
export function trouble(
  severity: "warning" | "error",
  id: string,
  about: { readonly subject?: string; readonly message: string; readonly nextStep: string },
): Finding {
  return { id, severity, subject: about.subject ?? "", message: about.message, nextStep: about.nextStep };
}

/** A look: findings, at least one; ids begin with its name. */
export interface Look {
  readonly name: string;
  run(): Promise<readonly Finding[]>;
}

/** Findings of all looks, in their order. Never throws: a look that fails is a finding. */
export async function lookAll(looks: readonly Look[]): Promise<Finding[]> {
  const found = await Promise.all(
    looks.map(async ({ name, run }) => {
      try {
        return await run();
      } catch (error) {
        const message = `this could not be looked at: ${messageOf(error)}`;
        const nextStep = "see the log of the server, and look again";
        return [trouble("error", `${name}.unreadable`, { message, nextStep })];
      }
    }),
  );
  return found.flat();
}

/** Seconds for people: 12 s, 5 min, 3 h, 2 days. */
export function secondsText(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3_600) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** Bytes for people: 12 MiB, 3.4 GiB. */
export function bytesText(bytes: number): string {
  const mebibytes = bytes / 1_048_576;
  return mebibytes < 1_024 ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1_024).toFixed(1)} GiB`;
}
