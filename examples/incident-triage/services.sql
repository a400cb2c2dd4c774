-- Who answers for which service. services.db is this, made with: sqlite3 services.db < services.sql
create table service (
  name text primary key,
  tier integer not null,
  owner text not null,
  channel text not null,
  runbook text not null
) strict;
create table incident (
  id integer primary key,
  service text not null references service (name),
  day text not null,
  cause text not null,
  remedy text not null
) strict;

insert into service values
  ('checkout', 1, 'payments', '#payments-oncall', 'Restart once. A second time within an hour: roll back instead.'),
  ('search', 2, 'discovery', '#discovery', 'Never restart in business hours: the index takes 40 minutes to warm.');
insert into incident (service, day, cause, remedy) values
  ('checkout', '2026-01-19', 'connection pool exhausted after a deployment', 'restart, then a fix in v5'),
  ('checkout', '2026-02-11', 'payment provider answered slowly', 'waited; nothing was changed'),
  ('search', '2026-02-02', 'a shard fell behind in merging', 'ticket; merged over night');
