// Examples of every command: what `--help` ends with, and the reference shows.
// Called by main.ts. Pure. A command without an example fails test/cli/reference.test.ts: add its lines here, the common case first.

import type { Command } from "commander";

/** Lines by the words of a command. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  init: ["orloj init nightly-costs", "orloj init desk --blueprint support-desk", "orloj init --list"],
  dev: [
    "orloj dev",
    "orloj dev examples/pipeline --invoke cost-digest -n pipeline",
    "orloj dev desk --invoke desk -n desk -p question=Hello",
  ],
  apply: [
    "orloj apply -f examples/",
    "orloj apply -f manifests/ --dry-run",
    "orloj apply -f manifests/ --set shop --prune",
    "orloj apply -f examples/support-desk --model openai/gpt-5-mini",
  ],
  validate: ["orloj validate -f examples/ --strict", "orloj validate -f manifests/ --offline"],
  diff: ["orloj diff -f manifests/", "orloj diff -f manifests/ --set shop --prune"],
  get: ["orloj get workflows -A", "orloj get tool/issue-refund -n support -o json", "orloj get all -n support -o yaml"],
  describe: ["orloj describe workflow support -n support", "orloj describe run RUN"],
  graph: ["orloj graph support-desk -n support", "orloj graph -f examples/incident-triage --out incident.svg"],
  edit: ["orloj edit policy refunds -n support", 'EDITOR="code --wait" orloj edit agent/triage'],
  delete: ["orloj delete tool issue-refund -n support"],
  explain: ["orloj explain tool", "orloj explain tool.http.url", "orloj explain policy --recursive"],
  schema: ["orloj schema --out .orloj/schemas", "orloj schema agent"],
  invoke: [
    'orloj invoke support -n support -p question="Where is my refund?" --watch',
    "orloj invoke cost-digest -n pipeline -p limit=5000 --wait -o json",
  ],
  runs: ["orloj runs", "orloj runs -s FAILED --limit 10"],
  tasks: ["orloj tasks RUN"],
  logs: ["orloj logs RUN", "orloj logs TASK -f"],
  cancel: ['orloj cancel RUN --reason "wrong customer"'],
  "dead-letters list": ["orloj dead-letters list --cause unknown_outcome"],
  "dead-letters show": ["orloj dead-letters show TASK"],
  "dead-letters replay": [
    "orloj dead-letters replay TASK --result 'REQUEST_ID={\"receipt\": 7}'",
    "orloj dead-letters replay --all --workflow support --class ModelUnavailable --dry-run",
  ],
  "dead-letters discard": ['orloj dead-letters discard TASK --reason "refunded by hand"'],
  workers: ["orloj workers"],
  leases: ["orloj leases RUN"],
  drain: ["orloj drain worker-1 --window 2m"],
  revoke: ['orloj revoke TASK --reason "stuck host"'],
  codegen: ["orloj codegen -f manifests/ --out src/workflows.ts", "orloj codegen -A --out src/workflows.ts --check"],
  "policy explain": ["orloj policy explain RUN", "orloj policy explain TASK --tool deploy-release"],
  "policy can": ["orloj policy can --as ana --group engineering --tool deploy-release"],
  "policy test": ["orloj policy test examples/ --min-coverage 80"],
  "audit list": ["orloj audit list --run RUN --kind task. --kind tool.", "orloj audit list --since 15m --follow"],
  "audit export": ["orloj audit export > trail.ndjson"],
  "audit key": ["orloj audit key > audit-key.pub.pem"],
  "audit verify": ["orloj audit verify trail.ndjson --public-key audit-key.pub.pem"],
  "token create": ["orloj token create --name ci --role invoker --expires 90d"],
  "token list": ["orloj token list"],
  "token revoke": ["orloj token revoke ci"],
  "certs init": ["orloj certs init --trust-domain orloj.example"],
  "certs issue": [
    "orloj certs issue server --host orloj.example --host 10.0.0.5",
    "orloj certs issue worker --name w1 --valid 90d",
  ],
  "certs rotate": ["orloj certs rotate --all"],
  "certs revoke": ["orloj certs revoke worker-w1"],
  "certs show": ["orloj certs show"],
  wait: [
    "orloj wait RUN --for state=SUCCEEDED --timeout 5m",
    "orloj wait workers --for active=2",
    "orloj wait dead-letters --for none --workflow support",
  ],
  top: ["orloj top", "orloj top --once -o json"],
  doctor: ["orloj doctor", "orloj doctor --problems -o json"],
  backup: ["orloj backup monday.tar.gz"],
  restore: ["orloj restore monday.tar.gz --replace"],
  upgrade: ["orloj upgrade"],
  "config get-contexts": ["orloj config get-contexts"],
  "config current-context": ["orloj config current-context"],
  "config use-context": ["orloj config use-context prod"],
  "config set-context": [
    'orloj config set-context prod --server https://orloj.example:7601 --ca ca.pem --token-command "vault read -field=token orloj"',
  ],
  "config delete-context": ["orloj config delete-context prod"],
  "config view": ["orloj config view"],
  completion: ["orloj completion bash > ~/.local/share/bash-completion/completions/orloj"],
  version: ["orloj version"],
};

/** Ends the help of every command with its examples. */
export function addExamples(command: Command, words: readonly string[] = []): void {
  for (const inner of command.commands) addExamples(inner, [...words, inner.name()]);
  const lines = EXAMPLES[words.join(" ")] ?? [];
  if (lines.length > 0) command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`);
}
