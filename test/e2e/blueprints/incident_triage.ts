// The blueprint incident-triage: four readers, a decision, one of two actions, a signed notice.
// Read by blueprints.test.ts.

import type { BlueprintCase } from "./blueprint_case.ts";

const READ = { health: "SUCCEEDED", changes: "SUCCEEDED", logs: "SUCCEEDED", owner: "SUCCEEDED", decide: "SUCCEEDED" };

/** See the file header. */
export const incidentTriage: BlueprintCase = [
  {
    shows: "a healthy service is not restarted: a ticket is opened, and the owner is told",
    workflow: "incident-triage",
    parameters: { service: "search" },
    nodes: { ...READ, restart: "SKIPPED", verify: "SKIPPED", ticket: "SUCCEEDED", notify: "SUCCEEDED" },
  },
];
