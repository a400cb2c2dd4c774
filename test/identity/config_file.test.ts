// The configuration file: what it gives, and each mistake with its place.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readServerConfig } from "../../server/config.ts";
import { readConfigFile } from "../../server/config_file.ts";
import { NO_LIMITS } from "../../server/limit_settings.ts";
import { temporaryFolder } from "../harness/folders.ts";

const folder = await temporaryFolder("cfg");
let files = 0;

function file(text: string): string {
  files += 1;
  const path = join(folder, `${files}.yaml`);
  writeFileSync(path, text);
  return path;
}

const TLS = "tls: {cert: api.crt, key: api.key, clientCa: ca.crt}\n";

test("everything that it may say", () => {
  const path = file(`${TLS}identity:
  trustDomain: acme.example
  clients:
    - {uri: spiffe://acme.example/ci, groups: [engineering]}
    - {uri: spiffe://acme.example/*, kind: user}
  oidc:
    - {issuer: "https://a", audience: orloj, jwksUri: "https://a/keys", claims: {id: email, groups: g, customer_id: cid}, clockSkew: 5s}
    - {issuer: "https://b", audience: [x, y], jwksFile: b.json, algorithms: [EdDSA], kind: service, prefix: "b:"}
  roles:
    - {role: operator, groups: [sre], namespaces: [prod, test]}
    - {right: invoke-as, principals: [portal], persons: {groups: [customers]}}
`);
  expect(readConfigFile(path)).toEqual({
    tls: { cert: join(folder, "api.crt"), key: join(folder, "api.key"), clientCa: join(folder, "ca.crt") },
    identity: {
      trustDomain: "acme.example",
      clients: [
        { uri: "spiffe://acme.example/ci", kind: "service", groups: ["engineering"] },
        { uri: "spiffe://acme.example/*", kind: "user", groups: [] },
      ],
      issuers: [
        {
          ...{ issuer: "https://a", audiences: ["orloj"], jwksUri: "https://a/keys", algorithms: ["RS256", "ES256"] },
          ...{
            kind: "user",
            prefix: "",
            idClaim: "email",
            groupsClaim: "g",
            claims: { customer_id: "cid" },
            clockSkewMs: 5_000,
          },
        },
        {
          ...{ issuer: "https://b", audiences: ["x", "y"], jwksFile: join(folder, "b.json"), algorithms: ["EdDSA"] },
          ...{ kind: "service", prefix: "b:", idClaim: "sub", claims: {}, clockSkewMs: 30_000 },
        },
      ],
      roles: [
        { grant: { right: "operator" }, principals: [], groups: ["sre"], namespaces: ["prod", "test"] },
        {
          grant: { right: "invoke-as", persons: { ids: ["*"], groups: ["customers"], claims: [] } },
          ...{ principals: ["portal"], groups: [], namespaces: [] },
        },
      ],
    },
    limits: NO_LIMITS,
  });
  expect(readConfigFile(file("# nothing yet\n")).identity.issuers).toEqual([]);
  const workers = readConfigFile(
    file("workers: {trustDomain: w.example, tls: {cert: w.crt, crl: /etc/w.crl}}"),
  ).workers;
  expect(workers).toEqual({ trustDomain: "w.example", tls: { cert: join(folder, "w.crt"), crl: "/etc/w.crl" } });
});

const issuer = (more: string) =>
  `identity: {oidc: [{issuer: "https://a", audience: o, jwksUri: "https://a/k"${more}}]}`;
const role = (text: string) => `identity: {roles: [{${text}}]}`;

test.each([
  ["identity: {rolez: []}", /:1:12: error\[E-UNKNOWN-KEY\] identity.rolez: .*did you mean "roles"/],
  ["identity: [", /:1:\d+: error\[E-YAML\]/],
  ["identity: {}\n---\nidentity: {}", /:3:1: .*several documents/],
  ['identity: {trustDomain: "spiffe://x"}', /identity.trustDomain: is no trust domain/],
  ["identity: {clients: [{uri: spiffe://x/a}]}", /"trustDomain" is missing[\s\S]*no client certificate is asked for/],
  [`${TLS}identity: {trustDomain: x, clients: [{uri: spiffe://y/a}]}`, /its domain must be x/],
  [`${TLS}identity: {trustDomain: x, clients: [{uri: "https://x/a"}]}`, /write it as spiffe:/],
  [`${TLS}identity: {trustDomain: x, clients: [{uri: spiffe://x/a}, {uri: spiffe://x/a}]}`, /is given twice/],
  [`${TLS}`, /tls.clientCa: no client is named/],
  ["tls: {cert: a}", /tls.key: "key" is missing/],
  ["tls: {cert: a, key: b, crl: c}", /tls.clientCa: "clientCa" is missing/],
  ["workers: {tls: {certs: a}}", /workers.tls.certs: .*did you mean "cert"/],
  ["workers: {trustDomain: A}", /workers.trustDomain: is no trust domain/],
  [
    `${TLS}identity: {trustDomain: x, clients: [{uri: spiffe://x/worker/*}]}`,
    /names below \/worker\/ are those of workers/,
  ],
  [issuer(", algorithms: [none]"), /"none" is not safe here/],
  [issuer(", algorithms: [HS256]"), /"HS256" is not safe here/],
  [issuer(", algorithms: []"), /no algorithm is named/],
  [issuer(", clockSkew: 2m"), /identity.oidc\[0\].clockSkew: 2m is out of range/],
  [issuer(", jwksFile: x"), /one of jwksUri and jwksFile/],
  ['identity: {oidc: [{issuer: "https://a", audience: o, jwksUri: "http://a/k"}]}', /is no https URL/],
  ['identity: {oidc: [{issuer: "https://a", audience: o, jwksUri: "https://u:p@a/k"}]}', /is no https URL/],
  ['identity: {oidc: [{issuer: "https://a", jwksUri: "https://a/k"}]}', /"audience" is missing/],
  [`${issuer("").slice(0, -2)}, {issuer: "https://b", audience: o, jwksFile: x}]}`, /prefix "" is given twice/],
  [role("role: root, groups: [a]"), /"root" is not one of/],
  [role("role: worker, groups: [a]"), /"worker" is not one of/],
  [role("role: admin"), /nobody is named/],
  [role("groups: [a]"), /one of role and right is needed/],
  [role("role: admin, right: invoke-as, groups: [a]"), /one of role and right is needed/],
  [role("role: admin, groups: [a], namespaces: []"), /no namespace is named/],
  [role("role: admin, groups: [a], namespaces: [A]"), /"A" is not a name/],
  [role("role: admin, groups: [a], persons: {ids: [x]}"), /belongs to invoke-as/],
])("%s is refused with its place", (text, message) => {
  expect(() => readConfigFile(file(text))).toThrow(message);
});

test("a file that is not there, and a host that nobody may be served on", () => {
  expect(() => readServerConfig(["--config", join(folder, "none.yaml")], {})).toThrow(/cannot be read: ENOENT/);
  expect(() => readServerConfig(["--host", "0.0.0.0"], {})).toThrow(/there is no TLS/);
  expect(() => readServerConfig(["--host", "example.com"], {})).toThrow(/is not an IP address/);
  const tls = file("tls: {cert: a, key: b}");
  expect(readServerConfig(["--host", "::"], { ORLOJ_CONFIG: tls }).host).toBe("::");
  expect(readServerConfig([], { ORLOJ_HOST: "127.0.0.2" }).host).toBe("127.0.0.2");
});

test("the ops listener may be put elsewhere, without credentials and only when it is said", () => {
  expect(readServerConfig([], {}).opsHost).toBe("127.0.0.1");
  expect(readServerConfig([], { ORLOJ_OPS_HOST: "0.0.0.0" })).toMatchObject({ opsHost: "0.0.0.0", host: "127.0.0.1" });
  expect(readServerConfig(["--ops-host", "::"], { ORLOJ_OPS_HOST: "127.0.0.1" }).opsHost).toBe("::");
  expect(() => readServerConfig(["--ops-host", "ops.example"], {})).toThrow(/--ops-host: "ops.example" is not an IP/);
});
