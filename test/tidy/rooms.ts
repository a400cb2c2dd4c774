// The rooms of the house and the arrows between them: what each may import. What is not listed is forbidden.
// Read by tidy.test.ts. Pure rooms have no clock, no randomness, no I/O and no wire types: only the packages named here.

/** Rooms that a room may import beside itself. The longest matching path names a file's room. */
export const ARROWS: Readonly<Record<string, readonly string[]>> = {
  kit: [],
  tracing: ["kit"],
  language: ["kit"],
  "proto/gen": [],
  "server/manifests": ["kit", "language"],
  "server/policy": ["kit", "language", "server/manifests"],
  "server/graph": ["kit", "language", "server/manifests", "server/queue"],
  "server/queue": ["kit", "server/manifests"],
  "server/audit": ["kit", "server/policy", "server/queue"],
  "server/grant": ["kit", "language", "server/manifests", "server/policy"],
  "server/identity": ["kit", "server/manifests"],
  "server/secrets": ["kit", "server/manifests"],
  "server/telemetry": ["kit", "server/audit"],
  "server/storage": [
    "kit",
    "server/audit",
    "server/graph",
    "server/grant",
    "server/manifests",
    "server/policy",
    "server/queue",
  ],
  "server/commands": [
    "kit",
    "language",
    "server/audit",
    "server/graph",
    "server/grant",
    "server/identity",
    "server/manifests",
    "server/policy",
    "server/queue",
    "server/secrets",
    "server/storage",
    "server/telemetry",
  ],
  "server/dispatch": [
    "kit",
    "proto/gen",
    "server/audit",
    "server/commands",
    "server/graph",
    "server/grant",
    "server/manifests",
    "server/policy",
    "server/queue",
    "server/telemetry",
  ],
  "server/rpc": [
    "kit",
    "proto/gen",
    "server/audit",
    "server/commands",
    "server/dispatch",
    "server/graph",
    "server/grant",
    "server/identity",
    "server/manifests",
    "server/policy",
    "server/queue",
    "server/telemetry",
  ],
  // main.ts wires, config.ts reads the environment.
  server: ["kit", "language", "tracing", "server/*"],
  "worker/telemetry": ["kit", "worker/agent", "worker"],
  "worker/session": [
    "kit",
    "language",
    "proto/gen",
    "worker/agent",
    "worker/model",
    "worker/telemetry",
    "worker/tool",
    "worker",
  ],
  "worker/agent": ["kit", "language", "worker/model", "worker/tool", "worker"],
  "worker/handler": ["kit", "language", "worker/agent", "worker/tool", "worker"],
  "worker/model": ["kit", "language", "worker/agent", "worker/tool", "worker"],
  "worker/tool": ["kit", "language", "worker/agent", "worker"],
  worker: ["kit", "language", "tracing", "worker/*"],
  // A service for the examples, beside the product: it knows nothing of it.
  sandbox: ["kit"],
  sdk: ["proto/gen"],
  "cli/codegen": ["kit", "cli"],
  cli: ["kit", "language", "sdk", "proto/gen", "cli/codegen", "server/audit", "server/manifests", "server/policy"],
  bin: ["cli"],
};

/** Further arrows for types alone; pure rooms may also use each other's types. */
export const TYPE_ARROWS: Readonly<Record<string, readonly string[]>> = {
  // The control plane's interface speaks of the workers that sessions hold.
  "server/commands": ["server/dispatch"],
  // Principals and their roles are words of the commands.
  "server/identity": ["server/commands"],
  // Rows that commands hand over keep their type.
  "server/dispatch": ["server/storage"],
};

/** Pure rooms and the packages that each may import. Hostile YAML is parsed on a thread, hence worker_threads. */
export const PURE_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  kit: ["asn1js", "node:crypto"],
  language: ["@bufbuild/cel", "@bufbuild/protobuf", "ajv", "ajv-formats", "node:crypto"],
  "server/manifests": ["ajv", "ajv-formats", "yaml", "js-yaml", "croner", "node:crypto", "node:worker_threads"],
  "server/policy": ["node:crypto", "node:net"],
  "server/graph": [],
  "server/queue": ["node:crypto"],
  "server/audit": ["node:crypto"],
  "server/grant": ["node:crypto"],
  "cli/codegen": [],
};

/** Packages that only some rooms may import; their types may travel. */
export const PACKAGE_ROOMS: readonly {
  readonly packages: RegExp;
  readonly rooms: readonly string[];
  readonly why: string;
}[] = [
  { packages: /^kysely(\/|$)/, rooms: ["server/storage"], why: "SQL stays in server/storage" },
  {
    packages: /^pg(\/|$)/,
    rooms: ["server/storage", "worker/tool"],
    why: "SQL stays in server/storage, and in database tools",
  },
  { packages: /^@grpc\/grpc-js/, rooms: ["worker/session"], why: "grpc-js is the workers' transport" },
  {
    packages: /^@connectrpc\//,
    rooms: ["server/rpc", "server/dispatch", "sdk", "cli"],
    why: "Connect stays at the edges",
  },
  { packages: /^jose/, rooms: ["server/identity"], why: "tokens of others are read in one place" },
  { packages: /^@modelcontextprotocol\//, rooms: ["worker/tool"], why: "MCP is a kind of tool" },
  { packages: /^@opentelemetry\//, rooms: ["tracing"], why: "spans are exported in one place" },
  {
    packages: /^(@peculiar\/|reflect-metadata|asn1js)/,
    rooms: ["kit", "cli"],
    why: "revocation lists are read in kit, certificates made in the CLI",
  },
  { packages: /^commander/, rooms: ["cli"], why: "commander belongs to the CLI" },
];

/** Files that start a program: only the named files may import them, and only they may make real clocks. */
export const MAIN_IMPORTERS: Readonly<Record<string, readonly string[]>> = {
  "server/main.ts": ["cli/server.ts"],
  "server/upgrade.ts": ["cli/migrate.ts", "server/main.ts", "server/embedded_care.ts"],
  "server/home_report.ts": ["cli/doctor.ts"],
  "server/embedded_care.ts": ["cli/backup.ts", "cli/restore.ts", "cli/upgrade.ts"],
  "worker/main.ts": ["cli/worker.ts"],
  "sandbox/main.ts": ["cli/sandbox.ts"],
  "cli/main.ts": ["bin/orloj.ts", "scripts/reference_cli.ts"],
};

/** Room of a file, undefined outside the product. */
export function roomOf(path: string): string | undefined {
  return Object.keys(ARROWS)
    .filter((room) => path.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** True if a file of room `from` may import one of room `to`. */
export function mayImport(from: string, to: string, typeOnly: boolean): boolean {
  if (from === to) return true;
  if (typeOnly && TYPE_ARROWS[from]?.includes(to)) return true;
  if (typeOnly && from in PURE_PACKAGES && to in PURE_PACKAGES) return true;
  const allowed = ARROWS[from] ?? [];
  return allowed.includes(to) || allowed.some((entry) => entry.endsWith("/*") && to.startsWith(entry.slice(0, -1)));
}
