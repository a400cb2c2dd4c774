// Certificate files of the API listener: each mistake with its file, and a rotation that needs no restart.

import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { Revocations } from "../../server/identity/revocations.ts";
import { ListenerTls } from "../../server/listener_tls.ts";
import { createLogger } from "../../server/telemetry/log.ts";
import { readTlsFiles, TLS_REREAD_MS, TlsFileWatch } from "../../server/tls_files.ts";
import { type Ca, createCa, type Issued } from "../harness/certificates.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { manualClock } from "../rpc/manual_clock.ts";

const folder = await temporaryFolder("tls");
const path = (name: string) => join(folder, name);
const FILES = { cert: path("c"), key: path("k"), clientCa: path("ca") };
const HOUR_MS = 3_600_000;
let ca: Ca;
let first: Issued;
let second: Issued;

function write({ cert, key }: Partial<Issued>, clientCa = ca.cert): void {
  writeFileSync(FILES.cert, cert ?? "");
  writeFileSync(FILES.key, key ?? "");
  writeFileSync(FILES.clientCa, clientCa);
}

beforeAll(async () => {
  ca = await createCa("x");
  const issue = () => ca.issue({ usages: ["server"], dnsNames: ["localhost"] });
  [first, second] = await Promise.all([issue(), issue()]);
});

test("files that cannot be used stop the start, and are named", async () => {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 1_024 };
  const weak = await ca.issue({ usages: ["server"], algorithm: { ...algorithm, hash: "SHA-256" } });
  const read = () => readTlsFiles(FILES, Date.now());
  expect(read).toThrow(/tls\.cert: .* cannot be read: ENOENT/);
  write(first);
  expect(read()).toEqual({ ...first, clientCa: ca.cert });
  write({ ...first, key: second.key });
  expect(read).toThrow(/tls\.key: .*\/k is not the key of .*\/c/);
  write({ cert: "nothing", key: first.key });
  expect(read).toThrow(/tls\.cert: .* is not usable PEM/);
  write({ cert: first.cert, key: "nothing" });
  expect(read).toThrow(/tls\.key: .* is not usable PEM/);
  write(first, second.cert);
  expect(read).toThrow(/tls\.clientCa: .* is not the certificate of a CA/);
  write(weak);
  expect(read).toThrow(/tls\.cert: .* cannot be used: .*too small/);
  write(first, `${ca.cert}\n${ca.cert}`);
  expect(read().clientCa).toContain(ca.cert);
  write(first, ca.cert + second.cert);
  expect(read).toThrow(/tls\.clientCa: .* is not the certificate of a CA/);
  write(first);
  expect(() => readTlsFiles({ ...FILES, crl: path("crl") }, Date.now(), "workers.tls")).toThrow(
    /workers\.tls\.crl: .* cannot be read: ENOENT/,
  );
  expect(() => readTlsFiles(FILES, Date.now() + 2 * HOUR_MS)).toThrow(/tls\.cert: .* expired at/);
});

test("what changes is handed over once; what cannot be used is told, and the earlier stays", () => {
  write(first);
  const clock = manualClock();
  const [taken, troubles]: [unknown[], string[]] = [[], []];
  // The manual clock begins in the past of these certificates' end.
  const watch = new TlsFileWatch(
    FILES,
    readTlsFiles(FILES, clock.now()),
    clock,
    (material) => void taken.push(material),
    (error) => void troubles.push((error as Error).message),
  );
  watch.start();
  clock.advance(TLS_REREAD_MS);
  expect(taken).toEqual([]);
  write({ ...second, key: first.key });
  clock.advance(TLS_REREAD_MS);
  expect(troubles).toEqual([expect.stringMatching(/is not the key of/)]);
  write(second);
  clock.advance(2 * TLS_REREAD_MS);
  expect(taken).toEqual([{ ...second, clientCa: ca.cert }]);
  watch.stop();
  expect(clock.pending).toBe(0);
});

test("lists are taken with the files, told when they run out or are of no use, and what they revoke counts", async () => {
  const [leaf, files] = [await ca.issue(), { ...FILES, crl: path("crl") }];
  write(first);
  const clock = manualClock();
  const ends = (ms: number) => ({
    thisUpdate: new Date(clock.now() - HOUR_MS),
    nextUpdate: new Date(clock.now() + ms),
  });
  writeFileSync(files.crl, await ca.revocationList([], ends(HOUR_MS)));
  const [lines, revocations]: [Record<string, unknown>[], Revocations] = [[], new Revocations()];
  const log = createLogger({ clock, level: "info", sink: (line) => void lines.push(JSON.parse(line)) });
  const tls = await ListenerTls.open({ listener: "worker", files, revocations, clock, log });
  const taken: unknown[] = [];
  tls.start((material) => void taken.push(material));
  const standing = () => revocations.standingOf(new X509Certificate(leaf.cert), clock.now());
  const events = () => lines.splice(0).map((line) => line["event"]);
  expect([standing(), events()]).toEqual(["good", ["tls.revocation_list_expires_soon"]]);
  writeFileSync(files.crl, "nothing");
  clock.advance(3 * TLS_REREAD_MS);
  expect([standing(), events(), taken.length]).toEqual(["good", ["tls.unusable"], 0]);
  writeFileSync(files.crl, await ca.revocationList([leaf], ends(HOUR_MS)));
  clock.advance(TLS_REREAD_MS);
  expect([standing(), events(), taken.length]).toEqual(["CERTIFICATE_REVOKED", ["tls.replaced"], 1]);
  writeFileSync(files.crl, await ca.revocationList([], ends(2 * TLS_REREAD_MS)));
  clock.advance(4 * TLS_REREAD_MS);
  expect([standing(), events()]).toEqual(["REVOCATION_LIST_EXPIRED", ["tls.replaced", "tls.revocation_list_expired"]]);
  tls.stop();
  expect(clock.pending).toBe(0);
  writeFileSync(files.crl, "nothing");
  await expect(ListenerTls.open({ listener: "api", files, revocations, clock, log })).rejects.toThrow(
    /tls\.crl: .*\/crl cannot be used: /,
  );
});
