// Reads the section `identity` of the configuration file: strictly, every error with its place, none thrown.
// Called by server/config_file.ts. Never reads a key set or a certificate: that is done when somebody calls.

import { isBelowWorkers, TRUST_DOMAIN, TRUST_DOMAIN_RULE } from "../../kit/spiffe.ts";
import { MINUTE, SECOND } from "../../kit/units.ts";
import type { FineRight, PersonBounds, Role } from "../commands/views.ts";
import type { Findings } from "../manifests/diagnostics.ts";
import { Fields, LABEL, LABEL_RULE, readString, readStringList } from "../manifests/fields.ts";
import type { Tree } from "../manifests/tree.ts";
import { ALGORITHMS } from "./jwt.ts";
import type { ClientSetting, IdentitySettings, IssuerSetting, RoleSetting } from "./settings.ts";
import { NO_IDENTITY } from "./settings.ts";

const KINDS = ["user", "service"] as const;
const ROLES: readonly Role[] = ["admin", "operator", "invoker", "auditor"];
const RIGHTS: readonly FineRight[] = ["policies.write", "policies.mode", "policies.delete", "invoke-as"];
const CLIENT_URI = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)*(?:\/\*)?)$/;
const CLOCK_SKEW_MS = 30 * SECOND;

/** The settings; incomplete if findings have errors. */
export function readIdentity(findings: Findings, tree: Tree, path: string): IdentitySettings {
  const fields = Fields.of(findings, tree, path, ["trustDomain", "clients", "oidc", "roles"]);
  if (fields === undefined) return NO_IDENTITY;
  const trustDomain = readTrustDomain(fields);
  const each = <T>(key: string, read: (item: Fields) => T | undefined, known: readonly string[]): T[] =>
    fields.list(key).flatMap((item, index) => {
      const one = Fields.of(findings, item, `${fields.at(key)}[${index}]`, known);
      return one === undefined ? [] : (read(one) ?? []);
    });
  const clients = each("clients", (item) => readClient(item, trustDomain), ["uri", "kind", "groups"]);
  const issuers = each("oidc", readIssuer, ISSUER_KEYS);
  const roles = each("roles", readRole, ["role", "right", "principals", "groups", "namespaces", "persons"]);
  if (clients.length > 0 && trustDomain === undefined) fields.missing("trustDomain");
  requireDistinct(
    fields,
    "clients",
    clients.map(({ uri }) => uri),
  );
  requireDistinct(
    fields,
    "oidc",
    issuers.map(({ issuer }) => issuer),
  );
  // Without a prefix of its own each issuer could name the other's people.
  requireDistinct(fields, "oidc", issuers.length > 1 ? issuers.map(({ prefix }) => `prefix "${prefix}"`) : []);
  return { ...(trustDomain !== undefined && { trustDomain }), clients, issuers, roles };
}

/** The member `trustDomain`; absent if it is not there, with a finding if it is none. */
export function readTrustDomain(fields: Fields): string | undefined {
  const trustDomain = fields.string("trustDomain");
  if (trustDomain !== undefined && !TRUST_DOMAIN.test(trustDomain)) {
    const [at, path] = [fields.positionOf("trustDomain"), fields.at("trustDomain")];
    fields.findings.error("E-VALUE", at, path, "is no trust domain", TRUST_DOMAIN_RULE);
  }
  return trustDomain;
}

function requireDistinct(fields: Fields, key: string, values: readonly string[]): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice === undefined) return;
  fields.findings.error(
    "E-VALUE",
    fields.positionOf(key),
    fields.at(key),
    `${twice} is given twice`,
    "make each its own",
  );
}

function readClient(fields: Fields, trustDomain: string | undefined): ClientSetting | undefined {
  const uri = fields.requiredString("uri");
  const kind = fields.oneOf("kind", KINDS, "service");
  const groups = stringsOf(fields, "groups");
  if (uri === undefined) return undefined;
  const [, domain, path] = CLIENT_URI.exec(uri) ?? [];
  const wrong = (hint: string) =>
    fields.findings.error(
      "E-VALUE",
      fields.positionOf("uri"),
      fields.at("uri"),
      `"${uri}" is no client of this trust domain`,
      hint,
    );
  if (domain === undefined || path === "")
    wrong("write it as spiffe://DOMAIN/PATH, or spiffe://DOMAIN/PATH/* for all below");
  else if (trustDomain !== undefined && domain !== trustDomain) wrong(`its domain must be ${trustDomain}`);
  else if (isBelowWorkers(uri.replace(/\*$/, "any"))) wrong("names below /worker/ are those of workers");
  return { uri, kind, groups };
}

const ISSUER_KEYS = [
  ...["issuer", "audience", "jwksUri", "jwksFile", "algorithms", "kind", "prefix", "claims", "clockSkew"],
];

function readIssuer(fields: Fields): IssuerSetting | undefined {
  const { findings } = fields;
  const issuer = fields.requiredString("issuer");
  const audiences = readAudiences(fields);
  const [jwksUri, jwksFile] = [fields.string("jwksUri"), fields.string("jwksFile")];
  if (fields.has("jwksUri") === fields.has("jwksFile")) {
    const hint = "give jwksUri or jwksFile: where its keys are";
    findings.error("E-MISSING", fields.tree.at, fields.path, "one of jwksUri and jwksFile is needed", hint);
  }
  if (jwksUri !== undefined && !isSafeUrl(jwksUri)) {
    const message = `"${jwksUri}" is no https URL`;
    findings.error(
      "E-VALUE",
      fields.positionOf("jwksUri"),
      fields.at("jwksUri"),
      message,
      "http is for this machine alone",
    );
  }
  const claims = fields.strings("claims");
  const { id: idClaim = "sub", groups: groupsClaim, ...others } = claims;
  const settings = {
    algorithms: readAlgorithms(fields),
    kind: fields.oneOf("kind", KINDS, "user"),
    prefix: fields.string("prefix") ?? "",
    clockSkewMs: fields.duration("clockSkew", { min: 0, max: MINUTE }, CLOCK_SKEW_MS),
  };
  if (issuer === undefined) return undefined;
  return {
    ...{ issuer, audiences, ...settings, idClaim, claims: others },
    ...(groupsClaim !== undefined && { groupsClaim }),
    ...(jwksUri !== undefined && { jwksUri }),
    ...(jwksFile !== undefined && { jwksFile }),
  };
}

function readAudiences(fields: Fields): string[] {
  const tree = fields.required("audience");
  if (tree === undefined) return [];
  const path = fields.at("audience");
  if (tree.kind !== "list") return [readString(fields.findings, tree, path) ?? ""];
  const audiences = readStringList(fields.findings, tree, path);
  if (audiences.length === 0)
    fields.findings.error("E-VALUE", tree.at, path, "no audience is named", "name this server");
  return audiences;
}

function readAlgorithms(fields: Fields): string[] {
  if (!fields.has("algorithms")) return ["RS256", "ES256"];
  const algorithms = stringsOf(fields, "algorithms");
  const wrong = algorithms.find((name) => !(ALGORITHMS as readonly string[]).includes(name));
  const [at, path] = [fields.positionOf("algorithms"), fields.at("algorithms")];
  if (wrong !== undefined) {
    const why = /^(none|HS)/i.test(wrong)
      ? "is not safe here: anybody who can check such a token can make one"
      : "is not known";
    fields.findings.error("E-VALUE", at, path, `"${wrong}" ${why}`, `one of ${ALGORITHMS.join(", ")}`);
  } else if (algorithms.length === 0) {
    fields.findings.error("E-VALUE", at, path, "no algorithm is named", "leave it out for RS256 and ES256");
  }
  return algorithms;
}

function isSafeUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "") return false;
  return (
    url.protocol === "https:" ||
    (url.protocol === "http:" && /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(url.hostname))
  );
}

function readRole(fields: Fields): RoleSetting | undefined {
  const { findings } = fields;
  const role = fields.oneOf("role", ROLES);
  const right = fields.oneOf("right", RIGHTS);
  if (fields.has("role") === fields.has("right")) {
    findings.error("E-MISSING", fields.tree.at, fields.path, "one of role and right is needed", "give exactly one");
  }
  const [principals, groups] = [stringsOf(fields, "principals"), stringsOf(fields, "groups")];
  if (principals.length + groups.length === 0) {
    findings.error("E-MISSING", fields.tree.at, fields.path, "nobody is named", "name principals or groups");
  }
  const namespaces = stringsOf(fields, "namespaces");
  const wrong = namespaces.find((namespace) => !LABEL.test(namespace));
  const [at, path] = [fields.positionOf("namespaces"), fields.at("namespaces")];
  if (wrong !== undefined) findings.error("E-NAME", at, path, `"${wrong}" is not a name: ${LABEL_RULE}`);
  if (fields.has("namespaces") && namespaces.length === 0) {
    findings.error("E-VALUE", at, path, "no namespace is named", "leave it out for every namespace");
  }
  const persons = readPersons(fields, right);
  const granted = role ?? right;
  return granted && { grant: { right: granted, ...(persons && { persons }) }, principals, groups, namespaces };
}

function readPersons(fields: Fields, right: FineRight | undefined): PersonBounds | undefined {
  const tree = fields.get("persons");
  if (tree === undefined) return undefined;
  if (right !== "invoke-as") {
    const hint = "it says for whom a service with the right invoke-as may invoke";
    fields.findings.error("E-VALUE", fields.positionOf("persons"), fields.at("persons"), "belongs to invoke-as", hint);
  }
  const persons = Fields.of(fields.findings, tree, fields.at("persons"), ["ids", "groups", "claims"]);
  if (persons === undefined) return undefined;
  const ids = persons.has("ids") ? stringsOf(persons, "ids") : ["*"];
  return { ids, groups: stringsOf(persons, "groups"), claims: stringsOf(persons, "claims") };
}

function stringsOf(fields: Fields, key: string): string[] {
  const tree = fields.get(key);
  return tree === undefined ? [] : readStringList(fields.findings, tree, fields.at(key));
}
