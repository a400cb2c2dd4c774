// The file in ORLOJ_HOME by which the CLI and local workers find this server: endpoints, development token, join token.
// Written by main.ts, readable by its owner only (0600). Never written anywhere else, never logged.

import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject } from "../kit/json.ts";

/** What the file holds. */
export interface HomeConfig {
  readonly endpoint: string;
  readonly token: string;
  readonly workerEndpoint: string;
  readonly joinToken: string;
}

/** The file of an earlier start, as far as it can be read. */
export function readHomeConfig(home: string): Partial<HomeConfig> {
  try {
    const value: unknown = JSON.parse(readFileSync(join(home, "config.json"), "utf8"));
    if (!isJsonObject(value)) return {};
    const kept = Object.entries(value).filter(([, member]) => typeof member === "string");
    return Object.fromEntries(kept) as Partial<HomeConfig>;
  } catch {
    return {};
  }
}

/** Writes the file whole or not at all. */
export function writeHomeConfig(home: string, config: HomeConfig): void {
  mkdirSync(home, { recursive: true, mode: 0o755 });
  const path = join(home, "config.json");
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  chmodSync(temporary, 0o600);
  renameSync(temporary, path);
}
