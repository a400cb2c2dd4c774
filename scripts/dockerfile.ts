// Reads a Dockerfile into stages and steps: those instructions that ours uses, and no others, so that nothing is passed over unseen.
// Used by image_replay.ts, which replays the steps, and by tests.
// Pure. Knows JSON form of CMD, ENTRYPOINT and HEALTHCHECK only: an image whose command is a shell passes signals on to nobody.

/** One instruction. */
export type Step = { readonly line: number } & (
  | { readonly kind: "WORKDIR" | "USER" | "STOPSIGNAL" | "RUN"; readonly text: string }
  | { readonly kind: "ENV" | "LABEL"; readonly pairs: Readonly<Record<string, string>> }
  | { readonly kind: "EXPOSE"; readonly ports: readonly number[] }
  | { readonly kind: "ENTRYPOINT" | "CMD" | "HEALTHCHECK"; readonly words: readonly string[] }
  | {
      readonly kind: "COPY";
      /** Name of an earlier stage; absent: the build context. */
      readonly from?: string;
      readonly owner?: { readonly uid: number; readonly gid: number };
      readonly sources: readonly string[];
      readonly target: string;
    }
);

/** What one FROM begins. */
export interface Stage {
  readonly line: number;
  readonly base: string;
  readonly name?: string;
  readonly steps: readonly Step[];
}

/** Reads it. @throws Error with the line of what is not known or not well-formed */
export function parseDockerfile(text: string): readonly Stage[] {
  const stages: { line: number; base: string; name?: string; steps: Step[] }[] = [];
  for (const { line, word, rest } of instructions(text)) {
    if (word === "FROM") {
      const [, base, name] = /^(\S+)(?:\s+AS\s+([a-z][a-z0-9-]*))?$/.exec(rest) ?? [];
      if (base === undefined) throw wrong(line, `FROM ${rest}: write FROM image[ AS name]`);
      stages.push({ line, base, steps: [], ...(name !== undefined && { name }) });
      continue;
    }
    const stage = stages.at(-1);
    if (stage === undefined) throw wrong(line, `${word} before the first FROM`);
    const step = stepOf(word, rest, line);
    const earlier = stages.slice(0, -1).map(({ name }) => name);
    if (step.kind === "COPY" && step.from !== undefined && !earlier.includes(step.from))
      throw wrong(line, `COPY --from=${step.from}: no earlier stage has this name`);
    stage.steps.push(step);
  }
  if (stages.length === 0) throw wrong(1, "there is no FROM");
  return stages;
}

function stepOf(word: string, rest: string, line: number): Step {
  switch (word) {
    case "WORKDIR":
    case "USER":
    case "STOPSIGNAL":
    case "RUN":
      if (rest === "") throw wrong(line, `${word} says nothing`);
      return { kind: word, line, text: rest };
    case "ENV":
    case "LABEL":
      return { kind: word, line, pairs: pairsOf(word, rest, line) };
    case "EXPOSE":
      return { kind: word, line, ports: rest.split(/\s+/).map(Number) };
    case "ENTRYPOINT":
    case "CMD":
      return { kind: word, line, words: wordsOf(word, rest, line) };
    case "HEALTHCHECK": {
      const [, command] = /^(?:--[a-z-]+=\S+\s+)*CMD\s+(\[.*\])$/.exec(rest) ?? [];
      return { kind: word, line, words: wordsOf(word, command ?? "", line) };
    }
    case "COPY":
      return copyOf(rest, line);
    default:
      throw wrong(line, `${word} is not an instruction that the replay knows: teach it, or do without`);
  }
}

function copyOf(rest: string, line: number): Step {
  const words = rest.split(/\s+/);
  const flags = words.filter((each) => each.startsWith("--"));
  const paths = words.filter((each) => !each.startsWith("--"));
  let from: string | undefined;
  let owner: { uid: number; gid: number } | undefined;
  for (const flag of flags) {
    const [, stage] = /^--from=([a-z][a-z0-9-]*)$/.exec(flag) ?? [];
    const [, uid, gid] = /^--chown=(\d+):(\d+)$/.exec(flag) ?? [];
    if (stage !== undefined) from = stage;
    else if (uid !== undefined) owner = { uid: Number(uid), gid: Number(gid) };
    else throw wrong(line, `COPY ${flag}: only --from=STAGE and --chown=UID:GID are known`);
  }
  const target = paths.at(-1);
  const sources = paths.slice(0, -1);
  if (target === undefined || sources.length === 0) throw wrong(line, "COPY needs a source and a target");
  if (sources.length > 1 && !/\/$|^\.$/.test(target))
    throw wrong(line, `COPY of several needs a target with / at its end`);
  return { kind: "COPY", line, sources, target, ...(from !== undefined && { from }), ...(owner && { owner }) };
}

function pairsOf(word: string, rest: string, line: number): Record<string, string> {
  const found = [...rest.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S*))(?:\s+|$)/g)];
  if (found.map(([all]) => all).join("") !== rest)
    throw wrong(line, `${word} ${rest}: write NAME=value or NAME="value"`);
  return Object.fromEntries(found.map(([, name = "", quoted, plain = ""]) => [name, quoted ?? plain]));
}

function wordsOf(word: string, text: string, line: number): string[] {
  try {
    const words: unknown = JSON.parse(text);
    if (Array.isArray(words) && words.length > 0 && words.every((each) => typeof each === "string")) return words;
  } catch {
    // Told below.
  }
  throw wrong(line, `${word}: write the words as JSON, ["program", "argument"]`);
}

// A backslash at the end of a line goes on in the next one; a comment stands alone.
function instructions(text: string): { line: number; word: string; rest: string }[] {
  const found: { line: number; word: string; rest: string }[] = [];
  let begun: { line: number; text: string } | undefined;
  for (const [index, raw] of text.split("\n").entries()) {
    if (/^\s*(#.*)?$/.test(raw)) continue;
    const [, part = "", more] = /^\s*(.*?)\s*(\\)?$/.exec(raw) ?? [];
    begun = { line: begun?.line ?? index + 1, text: begun === undefined ? part : `${begun.text} ${part}` };
    if (more !== undefined) continue;
    const [, word = "", rest = ""] = /^(\S+)\s*(.*)$/.exec(begun.text) ?? [];
    found.push({ line: begun.line, word, rest });
    begun = undefined;
  }
  if (begun !== undefined) throw wrong(begun.line, "the last instruction has no end");
  return found;
}

function wrong(line: number, message: string): Error {
  return new Error(`Dockerfile:${line}: ${message}`);
}
