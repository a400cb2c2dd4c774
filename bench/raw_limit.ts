// The raw limit of the measured Postgres: claims and completes tasks in batches of 100, each statement a commit, and does nothing else.
// Started by raw_rounds.ts as a process of its own: node bench/raw_limit.ts TASKS, with RAW_DATABASE_URL. The last line is one JSON object.

import pg from "pg";
import { systemClock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";
import { RAW_BATCH, RAW_CLAIM, RAW_COMPLETE, RAW_FILL, RAW_TABLE } from "./raw_sql.ts";

/** Batches under way at the same time. */
const LANES = 4;

const tasks = Number(process.argv[2]);
const clock = systemClock();
const pool = new pg.Pool({ connectionString: process.env["RAW_DATABASE_URL"], max: LANES });
const complete = RAW_COMPLETE.replace("%IDS%", "$1");
try {
  await pool.query(RAW_TABLE);
  await pool.query("truncate raw_task");
  await pool.query(RAW_FILL, [tasks]);
  await pool.query("vacuum (analyze) raw_task");
  const begin = clock.monotonic();
  await Promise.all(Array.from({ length: LANES }, lane));
  const seconds = (clock.monotonic() - begin) / SECOND;
  const { rows } = await pool.query("select count(*)::integer as done from raw_task where state = 2");
  if (rows[0].done !== tasks) throw new Error(`${rows[0].done} of ${tasks} tasks were completed`);
  process.stdout.write(`${JSON.stringify({ tasks, seconds, batch: RAW_BATCH })}\n`);
} finally {
  await pool.end();
}

async function lane(): Promise<void> {
  const client = await pool.connect();
  try {
    for (;;) {
      const { rows } = await client.query({ name: "claim", text: RAW_CLAIM });
      if (rows[0].ids === null) return;
      await client.query({ name: "complete", text: complete, values: [rows[0].ids] });
    }
  } finally {
    client.release();
  }
}
