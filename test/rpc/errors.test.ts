// What callers see of errors, and what the log gets.
// Real sockets, fake control plane that throws.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DomainError, type Reason } from "../../kit/errors.ts";
import { ErrorInfoSchema, ManifestErrorsSchema } from "../../proto/gen/orloj/v1/error_pb.ts";
import { ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { ManifestInvalidError } from "../../server/commands/manifest_invalid_error.ts";
import { CODES, ERROR_DOMAIN, toConnectError } from "../../server/rpc/error_map.ts";
import { PROTOCOLS, type Rig, startRig } from "./rig.ts";

async function failureOf(promise: Promise<unknown>): Promise<ConnectError> {
  return ConnectError.from(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

describe("errors on the wire", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  test.each(PROTOCOLS)("a DomainError keeps reason, message and metadata over %s", async (protocol) => {
    rig.plane.failure = new DomainError(
      "RUN_NOT_FOUND",
      "no run run_1: list the runs",
      { run: "run_1" },
      new Error("sql"),
    );
    const client = createClient(WorkflowService, rig.transport({ protocol }));
    for (const attempt of [client.getRun({ runId: "run_1" }), client.watchRun({ runId: "run_1" })]) {
      const error = await failureOf(attempt instanceof Promise ? attempt : attempt[Symbol.asyncIterator]().next());
      expect(error.code).toBe(Code.NotFound);
      expect(error.rawMessage).toBe("no run run_1: list the runs");
      expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
        { reason: "RUN_NOT_FOUND", domain: ERROR_DOMAIN, metadata: { run: "run_1" } },
      ]);
      expect(JSON.stringify(error)).not.toContain("sql");
    }
  });

  test("a JSON caller reads code, message and reason in the body", async () => {
    rig.plane.failure = new DomainError("RUN_FINISHED", "run_1 is finished: nothing to cancel");
    const response = await fetch(`http://127.0.0.1:${rig.ports.api}/orloj.v1.WorkflowService/CancelRun`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer tok-admin" },
      body: JSON.stringify({ runId: "run_1" }),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "failed_precondition",
      message: "run_1 is finished: nothing to cancel",
      details: [{ type: "orloj.v1.ErrorInfo", debug: { reason: "RUN_FINISHED", domain: ERROR_DOMAIN } }],
    });
  });

  test("refused manifests carry their findings", async () => {
    const finding = { severity: "error", code: "E-UNKNOWN-KEY", file: "a.yaml", line: 3, column: 5 } as const;
    rig.plane.failure = new ManifestInvalidError("1 finding in a.yaml: correct it and apply again", [
      { ...finding, path: "spec.modle", message: "unknown key modle", hint: "did you mean model?" },
    ]);
    const client = createClient(ManifestService, rig.transport());
    const error = await failureOf(client.apply({ files: [{ name: "a.yaml", content: "x" }] }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("MANIFEST_INVALID");
    expect(error.findDetails(ManifestErrorsSchema)[0]?.diagnostics[0]).toMatchObject({
      ...finding,
      path: "spec.modle",
      hint: "did you mean model?",
    });
  });

  test.each([
    ["an unexpected error", new TypeError("password=hunter2 at line 3", { cause: new Error("root cause") })],
    ["a broken invariant", new DomainError("INVARIANT_BROKEN", "invariant broken: password=hunter2")],
    ["a thrown string", "password=hunter2"],
  ])("%s is Internal, logged with its stack, and its text never leaves", async (_what, thrown) => {
    const spies = (["log", "error", "warn"] as const).map((name) => vi.spyOn(console, name));
    rig.plane.failure = thrown;
    const client = createClient(WorkflowService, rig.transport());
    const error = await failureOf(client.getRun({ runId: "run_1" }));
    expect(error.code).toBe(Code.Internal);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("INVARIANT_BROKEN");
    expect(error.rawMessage).not.toContain("hunter2");
    expect(rig.log).toContainEqual(
      expect.objectContaining({ level: "error", event: "rpc.failed", method: "orloj.v1.WorkflowService/GetRun" }),
    );
    expect(JSON.stringify(rig.log)).toContain("hunter2");
    for (const spy of spies) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  test("storage that is away is Unavailable and a warning in the log", async () => {
    rig.plane.failure = new DomainError("STORAGE_UNAVAILABLE", "the database does not answer: try again");
    const error = await failureOf(createClient(WorkflowService, rig.transport()).getRun({ runId: "run_1" }));
    expect(error.code).toBe(Code.Unavailable);
    expect(rig.log).toContainEqual(expect.objectContaining({ level: "warn", event: "rpc.unavailable" }));
  });
});

describe("error map", () => {
  test("every reason has a code and keeps its name", () => {
    for (const reason of Object.keys(CODES) as Reason[]) {
      const error = toConnectError(new DomainError(reason, "m"));
      expect(error.code).toBe(CODES[reason]);
      expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe(reason);
    }
  });

  test("only the reasons that a client may retry blindly are Unavailable", () => {
    const reasons = Object.entries(CODES).filter(([, code]) => code === Code.Unavailable);
    expect(reasons.map(([reason]) => reason)).toEqual(["SHUTTING_DOWN", "STORAGE_UNAVAILABLE", "IDENTITY_UNAVAILABLE"]);
  });

  test("a connection that broke is Canceled, not our bug", () => {
    for (const code of ["ECONNRESET", "ERR_STREAM_PREMATURE_CLOSE"]) {
      expect(toConnectError(Object.assign(new Error("x"), { code })).code).toBe(Code.Canceled);
    }
  });

  test("what the framework refuses gets a reason", () => {
    const reasonOf = (code: Code) =>
      toConnectError(new ConnectError("m", code)).findDetails(ErrorInfoSchema)[0]?.reason;
    expect(reasonOf(Code.ResourceExhausted)).toBe("PAYLOAD_TOO_LARGE");
    expect(reasonOf(Code.InvalidArgument)).toBe("REQUEST_INVALID");
    expect(reasonOf(Code.DeadlineExceeded)).toBeUndefined();
  });
});
