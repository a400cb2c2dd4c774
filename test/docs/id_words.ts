// The words that stand for ids on a page: RUN is the newest run, TASK the newest task of it, WORKER a connected worker, PARKED the
// task that was parked last. Called by page_run.ts. Asks the page's own server.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import type { PageFolder } from "./page_folder.ts";

const WORDS: Readonly<Record<string, (client: OrlojClient) => Promise<string | undefined>>> = {
  RUN: async (client) => (await client.workflows.listRuns({ pageSize: 1 })).runs[0]?.id,
  TASK: async (client) => {
    const runId = await WORDS["RUN"]?.(client);
    if (runId === undefined) return undefined;
    return (await client.workflows.listTasks({ runId })).tasks.at(-1)?.id;
  },
  WORKER: async (client) => (await client.fleet.listWorkers({})).workers[0]?.name,
  PARKED: async (client) => (await client.deadLetters.listDeadLetters({ pageSize: 1 })).deadLetters[0]?.taskId,
};

/** As a whole word: no variable, no part of a path or an option, not what is assigned to. */
const WORD = /(?<![\w$./{-])(RUN|TASK|WORKER|PARKED)(?![\w=-])/g;

/** The script with ids in the place of words. @throws Error when a word stands for nothing */
export async function withIds(script: string, folder: Pick<PageFolder, "clone">): Promise<string> {
  const code = script.replace(/(^|\s)#.*$/gm, "$1");
  const words = new Set([...code.matchAll(WORD)].map((match) => match[1] as string));
  if (words.size === 0) return script;
  const config = await readFile(join(folder.clone, ".orloj/config.json"), "utf8");
  const { endpoint, token } = JSON.parse(config) as { endpoint: string; token: string };
  const client = createClient({ endpoint, token });
  const ids = new Map<string, string>();
  for (const word of words) {
    const id = await WORDS[word]?.(client);
    if (id === undefined) throw new Error(`${word} stands for nothing: there is none at this point of the page`);
    ids.set(word, id);
  }
  return script.replace(WORD, (word) => ids.get(word) ?? word);
}
