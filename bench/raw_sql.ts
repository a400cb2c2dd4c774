// The statements of the raw limit: what any queue of our kind does at least, on a table of our kind, 100 tasks a statement.
// Read by raw_limit.ts, which runs them over one driver, and by raw_rounds.ts, which gives them to pgbench.

/** Tasks of one statement. */
export const RAW_BATCH = 100;

/** Makes the table with its indexes: what is ready, and what is leased. */
export const RAW_TABLE = `
  create table if not exists raw_task (id bigint generated always as identity primary key, route text not null, claim_order bigint not null,
    state smallint not null default 0, attempt integer not null default 1, input text not null, token uuid, lease_until timestamptz,
    create_time timestamptz not null default clock_timestamp(), end_time timestamptz) with (fillfactor = 85);
  create index if not exists raw_ready_idx on raw_task (route, claim_order, id) where state = 0;
  create index if not exists raw_lease_idx on raw_task (lease_until) where state = 1`;

/** Makes so many tasks ready. */
export const RAW_FILL = `insert into raw_task (route, claim_order, input)
  select 'bench', n, repeat('x', 170) from generate_series(1, $1::integer) n`;

/** Leases the next ones, and gives their ids as one array. */
export const RAW_CLAIM = `with claimed as (
    update raw_task set state = 1, token = gen_random_uuid(), lease_until = clock_timestamp() + interval '30 s'
    where id = any(array(select id from raw_task where state = 0 and route = 'bench'
      order by claim_order, id limit ${RAW_BATCH} for update skip locked)) returning id)
  select array_agg(id)::text as ids from claimed`;

/** Completes those of an array. */
export const RAW_COMPLETE = `update raw_task set state = 2, token = null, lease_until = null, end_time = clock_timestamp()
  where id = any(%IDS%::bigint[])`;
