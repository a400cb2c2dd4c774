// Types of columns that the interfaces of tables share: what a query reads, and what an insert or an update may give.
// Used by schema.ts and audit_schema.ts. Types only.

import type { ColumnType } from "kysely";

/** A time that is always there; an insert may leave it to its default. */
export type Time = ColumnType<Date, Date | string | undefined, Date | string>;
/** A time that may be absent. */
export type OptionalTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
