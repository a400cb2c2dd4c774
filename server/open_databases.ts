// The connections of a server: one pool for its work, one for renewals and the tick alone, and one for what only the maintenance role may do.
// Called by main.ts once the schema is there. On the embedded Postgres the roles are made here; on your own you name them.
// Never works as the owner of the embedded Postgres: the server's role cannot change a record of the audit trail.

import { messageOf } from "../kit/errors.ts";
import type { ServerConfig } from "./config.ts";
import { type OpenDatabase, openDatabase } from "./storage/database.ts";
import { embeddedRoles } from "./storage/embedded/roles.ts";
import { mayRemoveAudit } from "./storage/rights.ts";
import type { Logger } from "./telemetry/log.ts";

/** Connections for renewals and the tick alone, so that they never wait behind a busy pool. */
const RESERVED_CONNECTIONS = 2;
const MAINTENANCE_CONNECTIONS = 1;

/** Open pools. */
export interface Databases {
  readonly url: string;
  readonly work: OpenDatabase;
  readonly reserved: OpenDatabase;
  /** For audit retention; absent: nobody here may remove old segments. */
  readonly maintenance?: OpenDatabase;
  close(): Promise<void>;
}

/** Opens them. @param embeddedUrl that of the embedded Postgres, as its owner @throws DomainError for database trouble */
export async function openDatabases(
  config: Pick<ServerConfig, "databaseUrl" | "maintenanceDatabaseUrl" | "poolMax">,
  embeddedUrl: string | undefined,
  log: Logger,
): Promise<Databases> {
  const roles = embeddedUrl === undefined ? undefined : await embeddedRoles(embeddedUrl);
  const url = roles?.server ?? config.databaseUrl ?? "";
  const onConnectionError = (error: Error) => log.warn("database.connection_lost", { error: error.message });
  const open = (of: string, poolMax: number) => openDatabase({ url: of, poolMax, onConnectionError });
  const work = open(url, config.poolMax);
  const reserved = open(url, RESERVED_CONNECTIONS);
  const maintenanceUrl = roles?.maintenance ?? config.maintenanceDatabaseUrl;
  const own = maintenanceUrl === undefined ? undefined : open(maintenanceUrl, MAINTENANCE_CONNECTIONS);
  const close = async () => void (await Promise.all([work.close(), reserved.close(), own?.close()]));
  try {
    const maintenance = (await canRemove(own ?? work, log, own !== undefined)) ? (own ?? work) : undefined;
    return { url, work, reserved, ...(maintenance && { maintenance }), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function canRemove({ db }: OpenDatabase, log: Logger, named: boolean): Promise<boolean> {
  const may = await mayRemoveAudit(db).catch((error: unknown) => {
    // A server serves without its maintenance role; nothing is lost by it but room.
    if (!named) throw error;
    log.warn("retention.maintenance_unreachable", { error: messageOf(error) });
    return false;
  });
  if (may) return true;
  const next = "grant it with orloj migrate --maintenance-role, and name it with --maintenance-database-url";
  log.warn("retention.audit_off", { message: `no role here may remove old audit records: they are kept; ${next}` });
  return false;
}
