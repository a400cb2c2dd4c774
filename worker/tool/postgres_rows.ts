// Rows of a Postgres statement: read up to a limit and no further, and turned into JSON.
// Called by postgres.ts. A limit ends the portal: the protocol says that rows remain, and they stay where they are.
// What JSON cannot carry exactly stays the text that Postgres writes: timestamps, numeric, bytes, integers beyond 2^53.

import pg from "pg";
import { canonicalJson, type Json, parseJson } from "../../kit/json.ts";

/** What came of a statement. */
export interface LimitedResult {
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[];
  /** Values by column, as text. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** Rows that a statement without result changed. */
  readonly rowCount: number;
  readonly truncated: boolean;
}

const AS_TEXT = { getTypeParser: () => (text: string) => text };
const BOOLEAN = 16;
const INTEGERS = new Set([20, 21, 23, 26]);
const FLOATS = new Set([700, 701]);
const JSONS = new Set([114, 3802]);

interface Wire {
  sync(): void;
}

class PortalQuery extends pg.Query {
  truncated = false;

  /** Called by the driver when the limit is reached; it would go on, and this does not. */
  handlePortalSuspended(wire: Wire): void {
    this.truncated = true;
    wire.sync();
  }
}

/** One prepared statement whose rows are limited. */
export class LimitedQuery {
  readonly #config: pg.QueryConfig;
  readonly #rowsMax: number;

  constructor(text: string, values: readonly (string | null)[], rowsMax: number) {
    // A limit that is met exactly looks like one that is exceeded, so one row more is asked for.
    const limit = { rows: rowsMax + 1, rowMode: "array", queryMode: "extended" };
    this.#config = { text, values: [...values], types: AS_TEXT as unknown as pg.CustomTypesConfig, ...limit };
    this.#rowsMax = rowsMax;
  }

  /** Runs it. @throws what the driver throws */
  run(client: pg.Client): Promise<LimitedResult> {
    return new Promise((resolve, reject) => {
      const query: PortalQuery = new PortalQuery(this.#config, (error, result) => {
        if (error !== undefined && error !== null) {
          reject(error);
          return;
        }
        const { fields, rows, rowCount } = result as unknown as pg.QueryArrayResult<(string | null)[]>;
        const truncated = rows.length > this.#rowsMax;
        resolve({ fields, rows: rows.slice(0, this.#rowsMax), rowCount: rowCount ?? 0, truncated });
      });
      client.query(query);
    });
  }
}

/** A value as JSON. */
export function decodeValue(type: number, text: string | null): Json {
  if (text === null) return null;
  if (type === BOOLEAN) return text === "t";
  if (INTEGERS.has(type)) return Number.isSafeInteger(Number(text)) ? Number(text) : text;
  if (FLOATS.has(type)) return Number.isFinite(Number(text)) ? Number(text) : text;
  if (!JSONS.has(type)) return text;
  try {
    return parseJson(text);
  } catch {
    // JSON that nests deeper than ours may is handed on as text.
    return text;
  }
}

/** True if the rows are larger than that as JSON. */
export function readTooMuch(rows: readonly Record<string, Json>[], bytesMax: number): boolean {
  let bytes = 0;
  for (const row of rows) {
    bytes += Buffer.byteLength(canonicalJson(row));
    if (bytes > bytesMax) return true;
  }
  return false;
}
