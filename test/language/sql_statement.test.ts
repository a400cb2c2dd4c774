// What may be a tool's statement: one that reads or changes rows, and nothing that leaves them, in every disguise.

import { describe, expect, test } from "vitest";
import { type SqlDriver, sqlProblem } from "../../language/sql_statement.ts";

const problem = (text: string, driver: SqlDriver = "postgres", readOnly = true, parameters = 0) =>
  sqlProblem(text, { driver, readOnly, parameters });

describe("allowed", () => {
  test.each<[string, number?]>([
    ["select 1"],
    ["SELECT id FROM orders WHERE id = $1 AND region = $2", 2],
    ["select $1::text || $1", 1],
    ["  -- why\n select 1 /* ; */ ; "],
    ["with x as (select 1) select * from x"],
    ["values (1), (2);"],
    ["table orders"],
    ["select ';', ';;' , E'\\';', $$;$$, $tag$ ; $$ $tag$"],
    ['select "a;b" from t'],
    ["select 'it''s; fine'"],
    ["select a$b from t"],
    ["select '{\"a\":1}'::jsonb ? 'a'"],
    ["select pg_read_file from t"],
    ["select note from copy_program"],
    ["select count(*), lower(name) from t group by 2"],
  ])("%s", (text, parameters = 0) => {
    expect(problem(text, "postgres", true, parameters)).toBe(undefined);
  });

  test.each([
    "insert into t values ($1)",
    "update t set a = $1",
    "delete from t where a = $1",
    "merge into t using (select $1) s on true when matched then do nothing",
  ])("%s, if it may write", (text) => {
    expect(problem(text, "postgres", false, 1)).toBe(undefined);
    expect(problem(text, "postgres", true, 1)).toMatch(/begins with/);
  });

  test.each(["select [a;b], `c;d` from t", "replace into t values ($1)"])("%s in SQLite", (text) => {
    expect(problem(text, "sqlite", false, text.includes("$1") ? 1 : 0)).toBe(undefined);
  });
});

describe("refused", () => {
  test.each([
    ["select 1; drop table t", "more than one"],
    ["select 1;;select 2", "more than one"],
    ["select 1; -- and\n delete from t", "more than one"],
    ["select '\\'; drop table t --'", "more than one"],
    ["copy t to program 'sh -c id'", 'begins with "copy"'],
    ["copy (select 1) to '/tmp/x'", 'begins with "copy"'],
    ["/* select */ copy t from program 'id'", 'begins with "copy"'],
    ["set role postgres", 'begins with "set"'],
    ["reset role", 'begins with "reset"'],
    ["begin", 'begins with "begin"'],
    ["commit", 'begins with "commit"'],
    ["do $$ begin perform 1; end $$", 'begins with "do"'],
    ["call leave()", 'begins with "call"'],
    ["create table t(a int)", 'begins with "create"'],
    ["alter system set a = 1", 'begins with "alter"'],
    ["explain analyze delete from t", 'begins with "explain"'],
    ["prepare p as select 1", 'begins with "prepare"'],
    ["listen x", 'begins with "listen"'],
    ["load 'x'", 'begins with "load"'],
    ["", "begins with nothing"],
    [";", 'begins with ";"'],
    ["-- only a comment", "begins with nothing"],
    ["select pg_read_file('/etc/passwd')", "pg_read_file"],
    ["select PG_READ_FILE ('/etc/passwd')", "pg_read_file"],
    ["select pg_catalog . pg_read_binary_file /* x */ ('/etc/passwd')", "pg_read_binary_file"],
    ["select \"pg_read_file\"('/etc/passwd')", "pg_read_file"],
    ['select "pg_catalog"."pg_ls_dir"(\'.\')', "pg_ls_dir"],
    ["select U&\"pg\\005fread_file\"('/etc/passwd')", "escaped identifier"],
    ["select * from dblink('host=x', 'select 1') as t(a int)", "dblink"],
    ["select dblink_exec('x', 'drop table t')", "dblink_exec"],
    ["select lo_export(1, '/tmp/x')", "lo_export"],
    ["select lo_import('/etc/passwd')", "lo_import"],
    ["select set_config('role', 'postgres', false)", "set_config"],
    ["select query_to_xml('delete from t', true, true, '')", "query_to_xml"],
    ["select pg_terminate_backend(1)", "pg_terminate_backend"],
    ["select pg_file_write('x', 'y', false)", "pg_file_write"],
    ["select pg_reload_conf()", "pg_reload_conf"],
    ["select nextval('s')", "nextval"],
    ["with x as (select pg_ls_dir('.')) select * from x", "pg_ls_dir"],
    ["select 'open", "not closed"],
    ['select "open', "not closed"],
    ["select /* open", "missing"],
    ["select /* a /* b */ c */ 1", "comment within a comment"],
    ["select $a$ open", "missing"],
    ["select $name", "begins no parameter"],
    ["select 1\0", "U+0000"],
  ])("%s", (text, says) => {
    expect(problem(text)).toContain(says);
  });

  test.each([
    ["attach database '/tmp/x' as y", 'begins with "attach"'],
    ["pragma writable_schema = 1", 'begins with "pragma"'],
    ["vacuum into '/tmp/x'", 'begins with "vacuum"'],
    ["select load_extension('x')", "load_extension"],
    ["select readfile('/etc/passwd')", "readfile"],
    ["select [writefile]('/tmp/x', 'y')", "writefile"],
    ["select `load_extension`('x')", "load_extension"],
    ["select * from pragma_database_list()", "pragma_database_list"],
    ["select ?1", "write $1"],
    ["select :name", "write $1"],
    ["select @name", "write $1"],
    ["select 1; select 2", "more than one"],
    ["select $$ a $$", "begins no parameter"],
  ])("%s in SQLite", (text, says) => {
    expect(problem(text, "sqlite")).toContain(says);
  });

  test.each<[string, number, string]>([
    ["select $2", 1, "does not use $1"],
    ["select $1, $3", 2, "does not use $2"],
    ["select $2, $1", 1, "it uses $2 and 1 parameters"],
    ["select $0", 0, "it uses $0"],
    ["select '$1'", 1, "does not use $1"],
  ])("%s with %i parameters", (text, parameters, says) => {
    expect(problem(text, "postgres", true, parameters)).toContain(says);
  });
});
