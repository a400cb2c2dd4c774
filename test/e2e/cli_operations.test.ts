// The verbs of an operator on a real server and workers: waiting, listing, watching, looking, diagnosing.

import { expect, test, vi } from "vitest";
import { runOrloj, startOrloj } from "../harness/processes.ts";
import { agent, system, template } from "./documents.ts";
import { startStage } from "./stage.ts";

vi.setConfig({ testTimeout: 120_000 });

test("an operator waits for workers and runs, narrows lists, watches them, and reads the fleet", async () => {
  const stage = await startStage();
  const { server } = stage;
  const orloj = (...words: string[]) => runOrloj(words, { server });
  const waiting = orloj("wait", "workers", "--for", "active=2", "--timeout", "30s");
  await Promise.all([stage.worker("w1"), stage.worker("w2")]);
  expect(await waiting).toMatchObject({ code: 0, stdout: "2 active\n" });

  const labelled = agent("a", [{ delayMs: 400, output: { ok: true } }]) as { metadata: object };
  await stage.apply(
    { ...labelled, metadata: { ...labelled.metadata, labels: { team: "blue" } } },
    system("one", { nodes: [{ name: "n", agent: "a" }], output: { schema: {}, value: "${{ nodes.n.output }}" } }),
    template("one", { tags: { ticket: { from: "request" } } }),
  );
  expect((await orloj("get", "agents", "-l", "team=blue", "-o", "name")).stdout).toBe("agent/a\n");
  expect((await orloj("get", "agents", "-l", "team=red")).stdout).toBe("");

  const watch = startOrloj(["runs", "--watch", "--interval", "100ms"], {
    env: { ORLOJ_HOME: server.home, ORLOJ_SERVER: server.api },
  });
  const [first, second] = await Promise.all(
    ["T-1", "T-2"].map((ticket) => stage.client.workflow("one").invoke({}, { tags: { ticket } })),
  );
  const id = first?.id ?? "";
  expect(await orloj("wait", id, "--for", "state=SUCCEEDED")).toMatchObject({ code: 0, stdout: `${id} SUCCEEDED\n` });
  expect((await orloj("wait", second?.id ?? "", "--for", "state=FAILED", "--timeout", "20s")).code).toBe(1);
  await watch.waitFor(new RegExp(`${id} .* SUCCEEDED`));
  watch.signal("SIGINT");
  expect(await watch.ended).toMatchObject({ code: 130 });

  expect((await orloj("runs", "-t", "ticket=T-1", "-o", "name")).stdout).toBe(`${id}\n`);
  expect((await orloj("runs", "--since", "10m", "--until", "0s", "-o", "name")).stdout.split("\n")).toHaveLength(3);
  expect((await orloj("runs", "--until", "1h", "-o", "name")).stdout).toBe("");
  const page = JSON.parse((await orloj("runs", "--limit", "1", "-o", "json")).stdout) as { nextPageToken: string };
  const rest = await orloj("runs", "--page-token", page.nextPageToken, "-o", "name");
  expect(rest.stdout.split("\n")).toHaveLength(2);

  const top = JSON.parse((await orloj("top", "--once", "-o", "json")).stdout) as {
    numbers: { name: string; labels: Record<string, string>; value: number }[];
  };
  const number = (name: string) => top.numbers.find((one) => one.name === name);
  expect(number("replica_sessions")).toMatchObject({ value: 2, labels: { replica: expect.stringMatching(/^rep_/) } });
  expect(number("event_loop_lag_seconds")?.value).toBeGreaterThanOrEqual(0);

  const doctor = await orloj("doctor", "-o", "json");
  const { items } = JSON.parse(doctor.stdout) as { items: { id: string; severity: string }[] };
  const ids = items.map((one) => one.id);
  expect(ids).toEqual(
    expect.arrayContaining(["client.context", "server.connection", "database.version", "audit.last_segment"]),
  );
  // How fast the database answers, and how full the disk is, is the machine's affair.
  const machine = ["disk.space", "home.disk", "database.latency"];
  expect(items.filter(({ id, severity }) => severity === "error" && !machine.includes(id))).toEqual([]);
  const worst = ["error", "warning"].find((severity) => items.some((one) => one.severity === severity));
  expect(doctor.code).toBe(worst === "error" ? 2 : worst === "warning" ? 1 : 0);
});
