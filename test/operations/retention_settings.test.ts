// How long things are kept: flags before the environment before defaults, bounds, and what is refused.

import { expect, test } from "vitest";
import { DAY, HOUR } from "../../kit/units.ts";
import { readServerConfig } from "../../server/config.ts";

test("retention has defaults, flags come before the environment, and only the audit trail may be kept for ever", () => {
  const kept = (argv: string[], env = {}) => readServerConfig(argv, env).retention;
  expect(kept([])).toEqual({ runsMs: 90 * DAY, deadLettersMs: 30 * DAY, auditMs: 365 * DAY });
  const env = { ORLOJ_RUN_RETENTION: "2d", ORLOJ_DEAD_LETTER_RETENTION: "3d", ORLOJ_AUDIT_RETENTION: "4d" };
  expect(kept([], env)).toEqual({ runsMs: 2 * DAY, deadLettersMs: 3 * DAY, auditMs: 4 * DAY });
  expect(kept(["--run-retention", "1h"], env)).toMatchObject({ runsMs: HOUR, auditMs: 4 * DAY });
  for (const off of ["off", "0"]) expect(kept(["--audit-retention", off], env)).not.toHaveProperty("auditMs");
});

test.each([
  ["--run-retention", "59m"],
  ["--run-retention", "off"],
  ["--dead-letter-retention", "3651d"],
  ["--audit-retention", "soon"],
])("%s %s is refused and says what it may be", (flag, value) => {
  expect(() => readServerConfig([flag, value], {})).toThrow(
    new RegExp(`^${flag}: "${value}" is not a duration between 1h and 3650d`),
  );
});
