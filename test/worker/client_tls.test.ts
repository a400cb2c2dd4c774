// A worker's certificate files: each mistake with its file and what to do, and changes that are followed.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { CLIENT_TLS_LOOK_MS, ClientTls } from "../../worker/session/client_tls.ts";
import { assembleWorker } from "../../worker/worker.ts";
import { type Ca, createCa, type Issued, type Wanted } from "../harness/certificates.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { manualClock } from "../rpc/manual_clock.ts";

const HOUR_MS = 3_600_000;
const folder = await temporaryFolder("ct");
const FILES = { ca: join(folder, "ca"), cert: join(folder, "c"), key: join(folder, "k") };
let ca: Ca;
let first: Issued;
let second: Issued;

const issue = (wanted: Wanted = {}) => ca.issue({ uris: ["spiffe://acme.example/worker/w1"], ...wanted });

function write({ cert, key }: Issued, bundle = ca.cert): void {
  writeFileSync(FILES.ca, bundle);
  writeFileSync(FILES.cert, cert);
  writeFileSync(FILES.key, key);
}

beforeAll(async () => {
  ca = await createCa("x");
  [first, second] = (await Promise.all([issue(), issue()])) as [Issued, Issued];
});

test("the certificate names the worker, and the worker has no other name", () => {
  write(first);
  expect(new ClientTls(FILES, systemClock()).workerName).toBe("w1");
  const assemble = (options: object) =>
    assembleWorker({ endpoints: ["127.0.0.1:1"], name: "w1", ...options }, systemClock(), seededRandom(1));
  expect(() => assemble({ tls: FILES })).not.toThrow();
  expect(() => assemble({ tls: FILES, name: "w2" })).toThrow(/the name "w2" is not the one in the certificate, "w1"/);
  expect(() => assemble({})).toThrow(/needs a join token, or the files of a certificate/);
});

test.each<[string, (() => Promise<Issued>) | undefined, RegExp]>([
  [
    "of a client",
    () => issue({ uris: ["spiffe://acme.example/ci"] }),
    /cert: .*\/c is not a worker's: .*orloj certs issue worker/,
  ],
  ["with two names", () => issue({ uris: ["spiffe://a/worker/a", "spiffe://a/worker/b"] }), /is not a worker's/],
  ["for servers", () => issue({ usages: ["server"] }), /is not a worker's/],
  ["that expired", () => issue({ notBefore: new Date(0), notAfter: new Date(HOUR_MS) }), /cert: .* expired at/],
  ["of another key", async () => ({ ...first, key: second.key }), /key: .*\/k is not the key of .*\/c/],
  ["that is no PEM", async () => ({ ...first, cert: "nothing" }), /cert: .* is not usable PEM/],
])("a certificate %s is refused at start", async (_what, make, message) => {
  write((await make?.()) as Issued);
  expect(() => new ClientTls(FILES, systemClock())).toThrow(message);
});

test("a CA file that holds none, and a file that is not there", () => {
  write(first, first.cert);
  expect(() => new ClientTls(FILES, systemClock())).toThrow(/ca: .*\/ca is not the certificate of a CA/);
  write(first);
  const gone = { ...FILES, key: join(folder, "none") };
  expect(() => new ClientTls(gone, systemClock())).toThrow(/key: .*\/none cannot be read: ENOENT/);
});

test("changes are told once they can be used; what cannot be used leaves the earlier files in use until they expire", async () => {
  const clock = manualClock();
  const lines: string[] = [];
  const endMs = clock.now() + HOUR_MS;
  const brief = await issue({ notBefore: new Date(clock.now() - HOUR_MS), notAfter: new Date(endMs) });
  write(brief);
  const tls = new ClientTls(FILES, clock, (_level, message) => void lines.push(message));
  let changes = 0;
  const stop = tls.watch(() => {
    changes += 1;
  });
  clock.advance(CLIENT_TLS_LOOK_MS);
  expect([changes, lines]).toEqual([0, []]);
  write({ ...brief, key: second.key });
  clock.advance(3 * CLIENT_TLS_LOOK_MS);
  expect([changes, lines.splice(0)]).toEqual([0, ["certificate files cannot be used, keeping the earlier ones"]]);
  expect(() => tls.secured("localhost:1")).not.toThrow();
  clock.advance(HOUR_MS);
  expect(() => tls.secured("localhost:1")).toThrow(/is not the key of/);
  const renewed = await issue({
    notBefore: new Date(clock.now() - HOUR_MS),
    notAfter: new Date(clock.now() + HOUR_MS),
  });
  write(renewed);
  clock.advance(CLIENT_TLS_LOOK_MS);
  expect([changes, lines.splice(0)]).toEqual([1, ["certificate files changed"]]);
  write(await issue({ ...{ uris: ["spiffe://acme.example/worker/w2"] }, notAfter: new Date(clock.now() + HOUR_MS) }));
  clock.advance(CLIENT_TLS_LOOK_MS);
  expect(changes).toBe(1);
  expect(lines).toHaveLength(1);
  stop();
  expect(clock.pending).toBe(0);
});
