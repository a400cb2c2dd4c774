// Where the server's databases are: a flag, else a variable, else a file that a variable names, as container platforms and systemd hand
// secrets over. Called by config.ts for the server, and by upgrade.ts for `orloj migrate`.
// Never puts a URL into an error: it has a password in it.

import { readFileSync } from "node:fs";
import { DomainError, messageOf } from "../kit/errors.ts";
import type { Environment } from "./config.ts";

/** What isPostgresUrl asks for, for people. */
export const POSTGRES_URL_RULE = "must begin with postgres:// or postgresql://";

/** True for the URL of a Postgres. */
export function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text);
}

/** Variables that name a database, and those that name a file which holds the URL instead. */
const FILE_VARIABLES = {
  ORLOJ_DATABASE_URL: "ORLOJ_DATABASE_URL_FILE",
  ORLOJ_MAINTENANCE_DATABASE_URL: "ORLOJ_MAINTENANCE_DATABASE_URL_FILE",
} as const;

/** A variable that names a database. */
export type DatabaseVariable = keyof typeof FILE_VARIABLES;

/**
 * The URL of a database, unchecked; undefined if nothing names one.
 *
 * @param flag wins over both variables.
 * @throws CONFIG_INVALID if both variables are set, or the file cannot be read or is empty
 */
export function databaseUrlOf(
  variable: DatabaseVariable,
  flag: string | undefined,
  env: Environment,
): string | undefined {
  if (flag !== undefined) return flag;
  const url = env[variable];
  const fileVariable = FILE_VARIABLES[variable];
  const file = env[fileVariable];
  if (file === undefined) return url;
  if (url !== undefined) throw invalid(`${variable} and ${fileVariable} are both set; keep one`);
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw invalid(`${fileVariable}: ${file} cannot be read: ${messageOf(error)}`);
  }
  if (text === "") throw invalid(`${fileVariable}: ${file} is empty; put the URL of the database into it`);
  if (!isPostgresUrl(text)) throw invalid(`${fileVariable}: what ${file} holds ${POSTGRES_URL_RULE}`);
  return text;
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}
