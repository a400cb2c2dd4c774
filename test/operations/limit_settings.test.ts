// The section `limits` of the configuration file: what it gives, and each mistake with its place.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readConfigFile } from "../../server/config_file.ts";
import { RPC_LIMITS } from "../../server/rpc/limits.ts";
import { temporaryFolder } from "../harness/folders.ts";

const path = join(await temporaryFolder("limits"), "config.yaml");
const read = (text: string) => {
  writeFileSync(path, text);
  return readConfigFile(path).limits;
};

test("everything that it may say", () => {
  const limits = read(`limits:
  connections: 500
  connectionsPerPeer: 400
  calls: 300
  callsPerPeer: 200
  connectionAge: 30m
  callsPerSecond: {invoker: 50, admin: 5000}
  namespaces:
    payments: {invocationsPerSecond: 20, resources: 100}
    "*": {resources: 1000}
`);
  expect(limits).toEqual({
    listeners: {
      ...{ connectionsMax: 500, connectionsPerPeerMax: 400, callsMax: 300, callsPerPeerMax: 200, ageMs: 1_800_000 },
    },
    callRates: { admin: 5_000, invoker: 50 },
    quotas: { payments: { invocationsPerSecond: 20, resources: 100 }, "*": { resources: 1_000 } },
  });
});

test("what it does not say is as usual", () => {
  const { connectionsMax, ageMs } = RPC_LIMITS;
  expect(read("limits: {calls: 7}\n")).toMatchObject({
    ...{ listeners: { callsMax: 7, connectionsMax, ageMs }, callRates: {}, quotas: {} },
  });
});

test.each([
  ["limits: {conections: 5}", /config\.yaml:1:10: .*unknown key "conections"/],
  ["limits: {connections: 0}", /config\.yaml:1:23: .*0 is out of range/],
  ["limits: {connections: many}", /expected a number/],
  ["limits: {calls: 1.5}", /expected a whole number/],
  ["limits: {connectionAge: 5s}", /limits\.connectionAge/],
  ["limits: {callsPerSecond: {root: 5}}", /unknown key "root"/],
  ["limits: {callsPerSecond: {admin: -1}}", /-1 is out of range/],
  ["limits: {callsPerSecond: 5}", /expected a map/],
  ["limits: {namespaces: 5}", /write namespaces with their quotas/],
  ["limits: {namespaces: {Team: {resources: 5}}}", /Team: is no namespace|limits\.namespaces\.Team/],
  ["limits: {namespaces: {team: {resources: x}}}", /expected a number/],
  ["limits: {namespaces: {team: {runs: 5}}}", /unknown key "runs"/],
])("%s is refused with its place", (text, message) => {
  expect(() => read(text)).toThrow(message);
});
