// Looks for what is wrong with a control plane, or will be: the server's half of `orloj doctor`. Changes nothing.
// Called by rpc/fleet_service through replica.ts. What this machine alone knows (files, disk) comes as HostFacts.
// Looks run side by side, each over a few statements; none reads what is finished.

import type { Clock } from "../../kit/clock.ts";
import type { CommandContext } from "./context.ts";
import { auditLook } from "./diagnose_audit.ts";
import { policyLook, secretLook } from "./diagnose_catalog.ts";
import { clockLook, databaseLooks } from "./diagnose_database.ts";
import { certificateLook, diskLook, type HostFacts } from "./diagnose_host.ts";
import { workLooks } from "./diagnose_work.ts";
import { type Finding, lookAll } from "./findings.ts";

/** What a server found. */
export interface DiagnosisView {
  readonly serverTime: Date;
  readonly replicaId: string;
  readonly version: string;
  readonly findings: readonly Finding[];
}

/** Who looks, and from where. */
export interface DiagnoseContext extends Pick<CommandContext, "store" | "secrets"> {
  readonly clock: Clock;
  readonly replicaId: string;
  readonly version: string;
  readonly host: HostFacts;
}

/** All looks. Never throws for what it finds; what cannot be looked at is a finding. */
export async function diagnose(context: DiagnoseContext): Promise<DiagnosisView> {
  const { store, clock, replicaId, version, host } = context;
  const findings = await lookAll([
    ...databaseLooks(store, clock),
    clockLook(store, clock),
    certificateLook(host, clock),
    diskLook(host),
    ...workLooks(store, version),
    policyLook(store),
    secretLook(context),
    auditLook(store),
  ]);
  return { serverTime: new Date(clock.now()), replicaId, version, findings };
}
