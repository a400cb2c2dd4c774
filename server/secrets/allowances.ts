// Which secrets the manifests of a namespace may name: the operator's list, read once at start.
// Called by secret_access.ts for every secret that is handed out, and by commands when manifests are applied.
// Without a list every namespace may name every secret; with one, what is not listed is refused.

import { readFileSync } from "node:fs";
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { DomainError } from "../../kit/errors.ts";
import type { SecretName } from "./secrets.ts";

/** Patterns of each namespace: NAME/KEY, NAME/*, or *. The namespace "*" is every one. */
export type AllowanceList = Readonly<Record<string, readonly string[]>>;

/** The namespace of a list that stands for all. */
const ALL = "*";
const NAMESPACE = /^(?:\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/;
const PATTERN = /^(?:\*|[A-Za-z0-9_][A-Za-z0-9_.-]*\/(?:\*|[A-Za-z0-9_][A-Za-z0-9_.-]*))$/;

/** See the file header. */
export class Allowances {
  readonly #patterns: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  /** @param list absent: everything is allowed. */
  constructor(list?: AllowanceList) {
    this.#patterns =
      list && new Map(Object.entries(list).map(([namespace, patterns]) => [namespace, new Set(patterns)]));
  }

  /** False if there is no list. */
  get isRestricted(): boolean {
    return this.#patterns !== undefined;
  }

  /** Whether manifests of the namespace may name the secret. */
  allows(namespace: string, { name, key }: SecretName): boolean {
    if (this.#patterns === undefined) return true;
    const listed = [this.#patterns.get(namespace), this.#patterns.get(ALL)];
    return listed.some((patterns) => [`${name}/${key}`, `${name}/*`, ALL].some((pattern) => patterns?.has(pattern)));
  }
}

/**
 * Reads a list from a YAML file: namespaces, each with its patterns.
 *
 * @throws DomainError CONFIG_INVALID with the place of what is wrong; it never quotes more than a name.
 */
export function readAllowanceFile(path: string): AllowanceList {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    throw new DomainError("CONFIG_INVALID", `--secrets-allow: ${path} cannot be read (${code})`, {}, error);
  }
  return parseAllowances(path, text);
}

/** Parses the text of such a file. @throws DomainError CONFIG_INVALID */
export function parseAllowances(file: string, text: string): AllowanceList {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: false });
  const wrong = (node: Node | null | undefined, what: string): DomainError => {
    const { line, col } = lines.linePos(node?.range?.[0] ?? 0);
    return new DomainError("CONFIG_INVALID", `--secrets-allow: ${file}:${line}:${col}: ${what}`);
  };
  const [broken] = document.errors;
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw new DomainError("CONFIG_INVALID", `--secrets-allow: ${file}:${line}:${col}: it is not YAML (${broken.code})`);
  }
  if (!isMap(document.contents)) {
    throw wrong(
      document.contents as Node | null,
      "write namespaces with their secrets, such as `payments: [pay/token]`",
    );
  }
  const list: Record<string, string[]> = Object.create(null);
  for (const { key, value } of document.contents.items) {
    const namespace = isScalar(key) ? key.value : undefined;
    if (typeof namespace !== "string" || !NAMESPACE.test(namespace)) {
      throw wrong(key as Node, 'a namespace is a name of letters, digits and hyphens, or "*" for all');
    }
    if (!isSeq(value)) throw wrong((value ?? key) as Node, `the secrets of ${namespace} are a list; write [] for none`);
    list[namespace] = value.items.map((item) => {
      if (isScalar(item) && typeof item.value === "string" && PATTERN.test(item.value)) return item.value;
      throw wrong(isAlias(item) ? value : (item as Node), 'a secret is written as NAME/KEY, NAME/* or "*"');
    });
  }
  return list;
}
