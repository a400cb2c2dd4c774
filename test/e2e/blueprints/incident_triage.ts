// The blueprint incident-triage: logs read by a command, the owner looked up in a database, and a signed webhook that the
// receiver believed. Read by blueprints.test.ts. The lines of the README ran before: they restarted checkout, once.

import { expect } from "vitest";
import type { BlueprintCase } from "./blueprint_case.ts";

const READ = { health: "SUCCEEDED", changes: "SUCCEEDED", logs: "SUCCEEDED", owner: "SUCCEEDED", decide: "SUCCEEDED" };
const TICKET = { ticket: "SUCCEEDED", restart: "SKIPPED", verify: "SKIPPED", notify: "SUCCEEDED" };

/** See the file header. */
export const incidentTriage: BlueprintCase = [
  {
    shows: "a healthy service gets a ticket; its log, its owner, and a notice whose signature was checked",
    workflow: "incident-triage",
    parameters: { service: "checkout" },
    output: {
      service: "checkout",
      decision: expect.stringMatching(/^checkout is healthy with 0 errors a minute: the connection pool is exhausted;/),
      evidence: expect.stringMatching(/^2026-03-03T09:43:09\.\d+Z ERROR checkout POST \/orders 500 /),
      owner: {
        ...{ tier: 1, owner: "payments", channel: "#payments-oncall", runbook: expect.stringMatching(/^Restart once/) },
        last_incident: "payment provider answered slowly: waited; nothing was changed",
      },
      action: { action: "ticket", detail: expect.stringMatching(/^ticket OPS-\d+$/) },
      healthAfter: {},
      told: true,
    },
    nodes: { ...READ, ...TICKET },
    async also(stage, run, sandbox) {
      const granted = (await stage.trail(run, "tool.granted")).map(({ detail }) => detail.tool as string).sort();
      expect(granted).toEqual([
        ...["open-ticket", "read-log-end", "search-log"],
        ...["service-changes", "service-health", "service-owner", "tell-owner"],
      ]);
      const { restarts, notices, forged } = await sandbox.effects();
      expect({ restarts, forged }).toEqual({ restarts: 1, forged: 0 });
      expect(notices).toBeGreaterThanOrEqual(3);
      expect(await sandbox.notices()).toContainEqual({
        type: "incident.restarted",
        data: {
          service: "checkout",
          to: "#payments-oncall",
          text: expect.stringMatching(/^42 errors a minute on v7: /),
        },
      });
    },
  },
  {
    shows: "a service that nobody knows: every reader says so, and #oncall is told",
    workflow: "incident-triage",
    parameters: { service: "nobody" },
    output: {
      service: "nobody",
      decision: "nobody is unknown with 0 errors a minute: there is no log of this service; nothing to restart",
      ...{ evidence: "", owner: {}, healthAfter: {}, told: true },
      action: { action: "ticket", detail: expect.stringMatching(/^ticket OPS-\d+$/) },
    },
    nodes: { ...READ, ...TICKET },
    async also(_, __, sandbox) {
      expect(await sandbox.notices()).toContainEqual(
        expect.objectContaining({ data: expect.objectContaining({ service: "nobody", to: "#oncall" }) }),
      );
    },
  },
];
