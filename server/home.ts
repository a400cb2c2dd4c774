// The file in ORLOJ_HOME by which the CLI and local workers find this server: endpoints, development token, join token.
// Written by main.ts, readable by its owner only (0600). Never written anywhere else, never logged.
// The newest server of a home has the file; when it stops it hands it back to the one before, if that one still answers.

import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { isJsonObject } from "../kit/json.ts";

/** Longest wait for an earlier server to answer. */
const ANSWER_MS_MAX = 1_000;

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

/** Of a server that stops: restores the file of an earlier server that still answers, unless a newer one has taken it over. */
export async function handBackHomeConfig(home: string, own: HomeConfig, earlier: Partial<HomeConfig>): Promise<void> {
  const { endpoint, token, workerEndpoint, joinToken } = earlier;
  if (!endpoint || !token || !workerEndpoint || !joinToken || endpoint === own.endpoint) return;
  if (readHomeConfig(home).endpoint !== own.endpoint || !(await answers(endpoint))) return;
  writeHomeConfig(home, { endpoint, token, workerEndpoint, joinToken });
}

function answers(endpoint: string): Promise<boolean> {
  const url = URL.parse(endpoint);
  if (url === null) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect({ host: url.hostname, port: Number(url.port), timeout: ANSWER_MS_MAX });
    const done = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => done(true));
    socket.once("timeout", () => done(false));
    socket.once("error", () => done(false));
  });
}
