// Errors that travel, assertions, and the message of anything thrown.

import { describe, expect, test } from "vitest";
import { assert, DomainError, messageOf, unreachable } from "../../kit/errors.ts";

/** What a call throws. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("a domain error", () => {
  test("carries its reason, message and metadata", () => {
    const error = new DomainError("RUN_NOT_FOUND", "no run run_1", { run: "run_1" });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: "DomainError",
      reason: "RUN_NOT_FOUND",
      message: "no run run_1",
      metadata: { run: "run_1" },
    });
    expect(String(error)).toBe("DomainError: no run run_1");
    expect(error.stack).toContain("errors.test.ts");
  });

  test("has a cause only if one was given, and never in its message", () => {
    expect("cause" in new DomainError("TOO_MANY", "later")).toBe(false);
    const cause = new Error("password=hunter2");
    const error = new DomainError("STORAGE_UNAVAILABLE", "the database is away", {}, cause);
    expect(error.cause).toBe(cause);
    expect(JSON.stringify([error, error.message, error.metadata])).not.toContain("hunter2");
  });

  test("has no metadata by default, and shares none with others", () => {
    const [one, other] = [new DomainError("TOO_MANY", "later"), new DomainError("TOO_MANY", "later")];
    expect(one.metadata).toEqual({});
    expect(one.metadata).not.toBe(other.metadata);
  });
});

describe("assert", () => {
  test.each([true, 1, "x", {}, []])("passes for %j", (condition) => {
    expect(() => assert(condition, "must hold")).not.toThrow();
  });

  test.each([false, 0, "", null, undefined, Number.NaN])("throws INVARIANT_BROKEN for %j", (condition) => {
    const error = thrownBy(() => assert(condition, "a task has a run"));
    expect(error).toBeInstanceOf(DomainError);
    expect(error).toMatchObject({ reason: "INVARIANT_BROKEN", message: "invariant broken: a task has a run" });
  });
});

test("unreachable throws INVARIANT_BROKEN and names the value", () => {
  const error = thrownBy(() => unreachable({ kind: "unknown" } as never));
  expect(error).toMatchObject({
    reason: "INVARIANT_BROKEN",
    message: 'invariant broken: unexpected {"kind":"unknown"}',
  });
});

describe("the message of what was thrown", () => {
  test.each<[string, unknown, string]>([
    ["an error", new TypeError("wrong type"), "wrong type"],
    ["a domain error", new DomainError("TOO_MANY", "later"), "later"],
    ["a text", "out of paper", "out of paper"],
    ["a number", 42, "42"],
    ["undefined", undefined, "undefined"],
    ["null", null, "null"],
    ["a symbol", Symbol("stop"), "Symbol(stop)"],
    ["an object that names itself", { toString: () => "mine" }, "mine"],
  ])("of %s", (_name, thrown, message) => {
    expect(messageOf(thrown)).toBe(message);
  });

  test("is never an exception, even for what has no text", () => {
    expect(messageOf(Object.create(null))).toEqual(expect.any(String));
  });

  test("of errors gathered without a message of their own is those errors' messages", () => {
    const refused = [new Error("connect ECONNREFUSED ::1:5432"), new Error("connect ECONNREFUSED 127.0.0.1:5432")];
    expect(messageOf(new AggregateError(refused))).toBe(
      "connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432",
    );
    expect(messageOf(new AggregateError(refused, "all failed"))).toBe("all failed");
  });
});
