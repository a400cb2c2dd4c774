// Secrets of a test, by NAME/KEY, handed out as a replica does it: read live, allowed by a list if there is one, learnt by a redactor.

import { Redactor } from "../../kit/redactor.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import { type AllowanceList, Allowances } from "../../server/secrets/allowances.ts";
import { SecretAccess } from "../../server/secrets/secret_access.ts";
import { Secrets, secretVariable } from "../../server/secrets/secrets.ts";

export function stageSecrets(
  values: ReadonlyMap<string, string> = new Map(),
  list?: AllowanceList,
): Pick<CommandContext, "secrets" | "redactor"> {
  const redactor = new Redactor();
  const valueIn = (variable: string) =>
    [...values].find(([id]) => secretVariable(...(id.split("/") as [string, string])) === variable)?.[1];
  const environment = new Proxy<Record<string, string>>(
    {},
    { get: (_target, variable) => valueIn(String(variable)), ownKeys: () => [] },
  );
  const secrets = new SecretAccess({
    ...{ secrets: new Secrets({ environment }), allowances: new Allowances(list), redactor },
    onTrouble: () => undefined,
  });
  return { secrets, redactor };
}
