-- The orders of the shop. orders.db is this, made with: sqlite3 orders.db < orders.sql
create table customer (
  id text primary key,
  name text not null
) strict;
create table purchase (
  id text primary key,
  customer text not null references customer (id),
  day text not null,
  item text not null,
  cents integer not null check (cents > 0),
  state text not null check (state in ('paid', 'shipped', 'delivered', 'returned'))
) strict;

insert into customer values ('C-7', 'Ada Lind'), ('C-8', 'Jo Okafor');
insert into purchase values
  ('A-1001', 'C-7', '2026-02-20', 'desk lamp', 4900, 'returned'),
  ('A-1002', 'C-7', '2026-02-24', 'office chair', 25900, 'returned'),
  ('A-1003', 'C-7', '2025-06-11', 'wall clock', 1900, 'returned'),
  ('A-2001', 'C-8', '2026-02-27', 'bookshelf', 12900, 'delivered');
