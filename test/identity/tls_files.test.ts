// Certificate files of the API listener: each mistake with its file, and a rotation that needs no restart.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
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
  write(first);
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
