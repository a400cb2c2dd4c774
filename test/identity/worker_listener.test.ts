// Where workers are served: what each place says, which one counts, and what is refused with the next step.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readServerConfig } from "../../server/config.ts";
import { temporaryFolder } from "../harness/folders.ts";

const folder = await temporaryFolder("wl");
const config = join(folder, "config.yaml");
writeFileSync(config, "workers: {trustDomain: file.example, tls: {cert: w.crt, key: w.key, clientCa: ca.crt}}\n");
const FILES = {
  ORLOJ_WORKER_TLS_CERT: "/env.crt",
  ORLOJ_WORKER_TLS_KEY: "/env.key",
  ORLOJ_WORKER_TLS_CLIENT_CA: "/env-ca.crt",
};

test("without anything workers are served on this machine, by join token", () => {
  expect(readServerConfig([], {}).workers).toEqual({ host: "127.0.0.1" });
  expect(readServerConfig(["--worker-host", "::1"], {}).workers).toEqual({ host: "::1" });
  expect(readServerConfig([], {}).identity.workerTrustDomain).toBeUndefined();
});

test("flags win over the environment, the environment over the file, for each value alone", () => {
  const argv = ["--config", config, "--worker-host", "0.0.0.0", "--worker-tls-cert", "/flag.crt"];
  const read = readServerConfig(argv, {
    ORLOJ_WORKER_HOST: "::",
    ORLOJ_WORKER_TLS_KEY: "/env.key",
    ORLOJ_WORKER_TLS_CRL: "/env.crl",
  });
  expect(read.workers).toEqual({
    host: "0.0.0.0",
    tls: { cert: "/flag.crt", key: "/env.key", clientCa: join(folder, "ca.crt"), crl: "/env.crl" },
    trustDomain: "file.example",
  });
  expect(read.identity.workerTrustDomain).toBe("file.example");
});

test("the trust domain of clients is that of workers unless they have their own", () => {
  const path = join(folder, "identity.yaml");
  writeFileSync(path, "identity: {trustDomain: acme.example}\n");
  expect(readServerConfig(["--config", path], FILES).workers.trustDomain).toBe("acme.example");
  const own = ["--config", path, "--worker-trust-domain", "workers.example"];
  expect(readServerConfig(own, FILES).identity).toMatchObject({
    trustDomain: "acme.example",
    workerTrustDomain: "workers.example",
  });
});

test.each<[string, string[], Record<string, string>, RegExp]>([
  [
    "beyond this machine",
    ["--worker-host", "0.0.0.0"],
    {},
    /--worker-host: 0\.0\.0\.0 is beyond this machine, .*--worker-tls-cert, --worker-tls-key, --worker-tls-client-ca, --worker-trust-domain too; orloj certs init/,
  ],
  ["no trust domain", [], FILES, /needs --worker-trust-domain too/],
  [
    "no key",
    ["--worker-tls-cert", "a", "--worker-trust-domain", "x"],
    {},
    /needs --worker-tls-key, --worker-tls-client-ca too/,
  ],
  ["lists alone", ["--worker-tls-crl", "a"], {}, /mutual TLS needs --worker-tls-cert/],
  ["an empty flag", ["--worker-tls-cert", " "], {}, /--worker-tls-cert: is empty/],
  ["a name for an address", ["--worker-host", "example.com"], {}, /--worker-host: "example\.com" is not an IP address/],
  ["a trust domain with a scheme", ["--worker-trust-domain", "spiffe://x"], FILES, /"spiffe:\/\/x" is no trust domain/],
])("%s is refused", (_what, argv, env, message) => {
  expect(() => readServerConfig(argv, env)).toThrow(message);
});
