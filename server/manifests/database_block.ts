// Reads and writes the database block of a tool: where to, one statement that the manifest fixes, and the values of its parameters.
// Called by tool.ts. Arguments reach a database as parameters and in no other way: an insertion into the statement is E-SQL-INTERP.
// What a statement may be says language/sql_statement.ts; whom it may read says the role of the database user.

import type { JsonObject } from "../../kit/json.ts";
import { sqlProblem } from "../../language/sql_statement.ts";
import { compileStringTemplate } from "../../language/template.ts";
import type { Findings } from "./diagnostics.ts";
import { checkTemplate } from "./expressions.ts";
import { compact, Fields } from "./fields.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { ToolSpec } from "./specs.ts";
import { isSecret, TOOL_VARIABLES } from "./tool_address.ts";
import type { Tree } from "./tree.ts";

const KEYS = ["driver", "dsn", "file", "statement", "parameters", "access", "maxRows", "allowPrivateNetwork"];
const STATEMENT_CHARACTERS_MAX = 16_384;
/** Rows of a result that a tool gets unless it says otherwise. */
export const DATABASE_ROWS = 100;

type Database = NonNullable<ToolSpec["database"]>;

/** Reads a database block. */
export function readDatabase(findings: Findings, tree: Tree, path: string): Database | undefined {
  const fields = Fields.of(findings, tree, path, KEYS);
  if (fields === undefined) return undefined;
  const driver = fields.oneOf("driver", ["postgres", "sqlite"]);
  if (!fields.has("driver")) fields.missing("driver");
  checkPlace(fields, driver);
  const dsn = readDsn(fields);
  const file = readFile(fields);
  const access = fields.oneOf("access", ["readOnly", "readWrite"], "readOnly");
  const parametersTree = fields.get("parameters");
  if (parametersTree !== undefined) {
    checkTemplate(findings, parametersTree, fields.at("parameters"), TOOL_VARIABLES);
    checkSecrets(findings, parametersTree, fields.at("parameters"));
  }
  const values = fields.json("parameters");
  const parameters = fields.list("parameters").length > 0 && Array.isArray(values) ? values : [];
  const statement = readStatement(fields, { driver, readOnly: access === "readOnly", parameters: parameters.length });
  const maxRows = fields.integer("maxRows", { min: 1, max: 10_000 }, DATABASE_ROWS);
  const allowPrivateNetwork = fields.boolean("allowPrivateNetwork", false);
  if (driver === undefined || statement === undefined) return undefined;
  const place = { ...(dsn !== undefined && { dsn }), ...(file !== undefined && { file }) };
  return { driver, ...place, statement, parameters, access, maxRows, allowPrivateNetwork };
}

function checkPlace(fields: Fields, driver: Database["driver"] | undefined): void {
  if (driver === undefined) return;
  const [own, other] = driver === "postgres" ? ["dsn", "file"] : ["file", "dsn"];
  if (!fields.has(own as string)) fields.missing(own as string);
  for (const key of driver === "postgres" ? ["file"] : ["dsn", "allowPrivateNetwork"]) {
    if (!fields.has(key)) continue;
    const message = `"${key}" does not belong to driver "${driver}"`;
    const hint = key === other ? `use ${own}` : "remove it";
    fields.findings.error("E-UNION", fields.positionOf(key), fields.at(key), message, hint);
  }
}

function readDsn(fields: Fields): string | undefined {
  const text = fields.string("dsn");
  const tree = fields.get("dsn");
  if (text === undefined || tree === undefined || fields.findings.trusted) return text;
  const path = fields.at("dsn");
  const compiled = compileStringTemplate(text, { variables: TOOL_VARIABLES });
  if (!compiled.ok) {
    checkTemplate(fields.findings, tree, path, TOOL_VARIABLES);
    return text;
  }
  checkSecrets(fields.findings, tree, path);
  const [only, ...others] = compiled.value.segments;
  const literal = only?.kind === "literal" && others.length === 0;
  if (literal ? !/^postgres(?:ql)?:\/\/./.test(text) : !(only !== undefined && others.length === 0 && isSecret(only))) {
    const hint = "write ${{ secret.NAME.dsn }}, or postgres://user@host/database for a user without password";
    fields.findings.error("E-URL", tree.at, path, "the dsn is neither one secret nor a postgres:// address", hint);
  }
  return text;
}

function readFile(fields: Fields): string | undefined {
  const file = fields.string("file");
  if (file === undefined) return undefined;
  if (file === "" || file.includes("${{") || file.includes("\0") || file.split("/").includes("..")) {
    const message = "the file is fixed: no insertion and no ..";
    const hint = "write its path inside the worker's ORLOJ_WORK_DIR";
    fields.findings.error("E-VALUE", fields.positionOf("file"), fields.at("file"), message, hint);
  }
  return file;
}

function readStatement(
  fields: Fields,
  of: { driver: Database["driver"] | undefined; readOnly: boolean; parameters: number },
): string | undefined {
  const text = fields.requiredString("statement");
  if (text === undefined || fields.findings.trusted || of.driver === undefined) return text;
  const at = fields.get("statement")?.at ?? fields.positionOf("statement");
  if (text.includes("${{")) {
    const message = "a statement takes no insertion: arguments are parameters";
    const hint = 'write $1 and parameters: ["${{ args.NAME }}"]';
    fields.findings.error("E-SQL-INTERP", at, fields.at("statement"), message, hint);
    return text;
  }
  const problem =
    text.length > STATEMENT_CHARACTERS_MAX
      ? `it is longer than ${STATEMENT_CHARACTERS_MAX} characters`
      : sqlProblem(text, { ...of, driver: of.driver });
  if (problem !== undefined) {
    fields.findings.error("E-SQL", at, fields.at("statement"), `the statement cannot be run: ${problem}`);
  }
  return text;
}

/** Reports a tool that says it only reads and may change rows. */
export function checkEffect(tool: Fields, database: Database, effect: ToolSpec["effect"]): void {
  if (effect !== "read" || database.access === "readOnly") return;
  const message = "a readWrite statement changes rows, and the tool's effect is read";
  const hint = "set effect: write, or access: readOnly";
  tool.findings.error("E-VALUE", tool.positionOf("effect"), tool.at("effect"), message, hint);
}

/** The database block as a manifest would say it. */
export function databaseJson(database: Database): JsonObject {
  const { driver, dsn, file, statement, parameters, access, maxRows, allowPrivateNetwork } = database;
  const network = driver === "postgres" ? { allowPrivateNetwork } : {};
  return compact({ driver, dsn, file, statement, parameters: [...parameters], access, maxRows, ...network });
}
