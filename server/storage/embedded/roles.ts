// The roles of an embedded Postgres: a server works as one that owns nothing, and retention as another.
// Called by open_databases.ts at each start, after the migrations. The owner is used for these two alone.
// Passwords follow from that of the owner, which lies with the data: all servers of a home use the same ones, and none is stored.

import { createHmac } from "node:crypto";
import { sql } from "kysely";
import { openDatabase, transaction } from "../database.ts";
import { MIGRATION_LOCK_KEY } from "../migrate.ts";
import { grantRights } from "../rights.ts";

const ROLES = { server: "orloj_server", maintenance: "orloj_maintenance" } as const;

/** Makes the roles, gives them their rights, and returns the URL of each. @throws DomainError for database trouble */
export async function embeddedRoles(ownerUrl: string): Promise<{ server: string; maintenance: string }> {
  const database = openDatabase({ url: ownerUrl, poolMax: 1 });
  const urlOf = (role: string) => {
    const url = new URL(ownerUrl);
    const password = createHmac("sha256", url.password).update(role).digest("hex");
    return Object.assign(url, { username: role, password });
  };
  const urls = { server: urlOf(ROLES.server), maintenance: urlOf(ROLES.maintenance) };
  try {
    await transaction(database.db, async (tx) => {
      await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK_KEY.toString())}::int8)`.execute(tx);
      for (const { username, password } of Object.values(urls)) {
        const { rows } = await sql`SELECT FROM pg_roles WHERE rolname = ${username}`.execute(tx);
        const verb = sql.raw(rows.length === 0 ? "CREATE" : "ALTER");
        await sql`${verb} ROLE ${sql.id(username)} LOGIN PASSWORD ${sql.lit(password)}`.execute(tx);
      }
    });
    await grantRights(database.db, ROLES);
  } finally {
    await database.close();
  }
  return { server: urls.server.href, maintenance: urls.maintenance.href };
}
