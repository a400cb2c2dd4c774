// What `npm run test:netns` may be told.
// Read by main.ts, to refuse mistakes before anything is made, and by driver.ts. Pure.

import { parseArgs } from "node:util";

export const HELP = `Usage: npm run test:netns -- [options]

  --cut SECONDS  how long the link of a worker is cut, 45 to 600: longer than a lease; default 60
  --json         nothing but the JSON line on stdout
`;

export interface NetnsOptions {
  readonly cutMs: number;
  readonly json: boolean;
}

/** Undefined: help is asked for. @throws Error with what is wrong and what is allowed */
export function readOptions(args: readonly string[]): NetnsOptions | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const seconds = /^\d{1,3}$/.test(values.cut) ? Number(values.cut) : 0;
  if (seconds < 45 || seconds > 600) throw new Error(`--cut: "${values.cut}" is not a whole number from 45 to 600`);
  return { cutMs: seconds * 1_000, json: values.json };
}

function parse(args: readonly string[]) {
  const flag = { type: "boolean", default: false } as const;
  try {
    return parseArgs({
      args: [...args],
      options: { cut: { type: "string", default: "60" }, json: flag, help: { ...flag, short: "h" } },
    });
  } catch (error) {
    throw new Error(`${(error as Error).message.split("\n")[0]}\n\n${HELP}`);
  }
}
