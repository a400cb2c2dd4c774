// JSON Web Tokens against a real key server on loopback: what is taken, and every known way to get a false one taken.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  CompactSign,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTPayload,
  SignJWT,
} from "jose";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { JwtVerifier } from "../../server/identity/jwt.ts";
import { COOLDOWN_MS, KEPT_MS_MAX, REFRESH_MS } from "../../server/identity/key_source.ts";
import type { IssuerSetting } from "../../server/identity/settings.ts";
import { type ManualClock, manualClock } from "../rpc/manual_clock.ts";

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;

const ISSUER = "https://login.acme.example";
let pairs: Record<"old" | "new" | "stranger", Pair>;
let jwks: Record<"old" | "new" | "stranger", JWK>;
let served: JWK[];
let status = 200;
let fetches = 0;
let clock: ManualClock;
let troubles: unknown[];
let setting: IssuerSetting;

const server = createServer((_request, response) => {
  fetches += 1;
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ keys: served }));
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const make = () => generateKeyPair("RS256", { extractable: true });
  pairs = { old: await make(), new: await make(), stranger: await make() };
  const jwk = async (kid: "old" | "new" | "stranger") => ({
    ...(await exportJWK(pairs[kid].publicKey)),
    kid,
    alg: "RS256",
  });
  jwks = { old: await jwk("old"), new: await jwk("new"), stranger: await jwk("stranger") };
});
afterAll(() => new Promise((resolve) => server.close(resolve)));
beforeEach(() => {
  served = [jwks.old];
  status = 200;
  fetches = 0;
  troubles = [];
  clock = manualClock();
  const { port } = server.address() as AddressInfo;
  setting = {
    ...{ issuer: ISSUER, audiences: ["orloj"], jwksUri: `http://127.0.0.1:${port}/keys`, algorithms: ["RS256"] },
    ...{ kind: "user", prefix: "acme:", idClaim: "email", groupsClaim: "groups", clockSkewMs: 30_000 },
    claims: { customer_id: "https://acme.example/customer", tier: "account.tier" },
  };
});

const verifier = (more: Partial<IssuerSetting> = {}) =>
  new JwtVerifier([{ ...setting, ...more }], clock, (_issuer, error) => void troubles.push(error));
const seconds = (fromNow = 0) => Math.floor(clock.now() / 1_000) + fromNow;

function claims(more: Readonly<Record<string, unknown>> = {}): JWTPayload {
  return {
    iss: ISSUER,
    aud: "orloj",
    sub: "s1",
    email: "ann@acme.example",
    iat: seconds(),
    exp: seconds(600),
    ...more,
  };
}

function signed(payload: JWTPayload, header: object = {}, pair: "old" | "new" | "stranger" = "old"): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: "RS256", kid: pair, ...header }).sign(pairs[pair].privateKey);
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

test("a good token names its person, groups and claims as the configuration maps them", async () => {
  const payload = claims({
    groups: ["engineering"],
    account: { tier: 3 },
    "https://acme.example/customer": "123",
    other: "x",
  });
  expect(await verifier().verify(await signed(payload))).toEqual({
    ...{ id: "acme:ann@acme.example", kind: "user", groups: ["acme:engineering"], method: "jwt", issuer: ISSUER },
    claims: { customer_id: "123", tier: "3" },
  });
});

test("no signature at all is no token: alg none, in every spelling", async () => {
  for (const alg of ["none", "None", "NONE", "nOnE", ""]) {
    const token = `${encode({ alg, typ: "JWT", kid: "old" })}.${encode(claims())}.`;
    expect(await verifier().verify(token), alg).toBeUndefined();
    expect(await verifier({ algorithms: ["RS256", alg] }).verify(token), alg).toBeUndefined();
  }
});

test("a public key is never taken for a shared secret", async () => {
  const pem = new TextEncoder().encode(await exportSPKI(pairs.old.publicKey));
  const modulus = new TextEncoder().encode(jwks.old.n as string);
  for (const secret of [
    pem,
    modulus,
    Buffer.from(jwks.old.n as string, "base64url"),
    new TextEncoder().encode(JSON.stringify(jwks.old)),
  ]) {
    const token = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims())))
      .setProtectedHeader({ alg: "HS256", kid: "old" })
      .sign(secret);
    expect(await verifier().verify(token)).toBeUndefined();
    expect(await verifier({ algorithms: ["RS256", "HS256"] }).verify(token)).toBeUndefined();
  }
});

test("a shared secret or a private key that an issuer publishes verifies nothing", async () => {
  const secret = Buffer.from("a secret that everybody can read");
  served = [jwks.old, { kty: "oct", kid: "shared", alg: "HS256", k: secret.toString("base64url") }];
  const token = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims())))
    .setProtectedHeader({ alg: "HS256", kid: "shared" })
    .sign(secret);
  expect(await verifier({ algorithms: ["RS256", "HS256"] }).verify(token)).toBeUndefined();
  served = [{ ...(await exportJWK(pairs.new.privateKey)), kid: "new", alg: "RS256" }];
  expect(await verifier().verify(await signed(claims(), {}, "new"))).toBeUndefined();
});

test.each([
  ["another audience", () => claims({ aud: "billing" })],
  ["no audience", () => claims({ aud: undefined })],
  ["another issuer", () => claims({ iss: "https://login.evil.example" })],
  ["an issuer that only begins alike", () => claims({ iss: `${ISSUER}/` })],
  ["no issuer", () => claims({ iss: undefined })],
  ["expired beyond the skew", () => claims({ exp: seconds(-31) })],
  ["no expiry", () => claims({ exp: undefined })],
  ["not valid yet", () => claims({ nbf: seconds(31) })],
  ["issued in the future", () => claims({ iat: seconds(31) })],
  ["no id", () => claims({ email: undefined })],
  ["an empty id", () => claims({ email: "" })],
  ["an id that is no text", () => claims({ email: { toString: "x" } })],
  ["an id with U+0000", () => claims({ email: "a\0b" })],
  ["an address that nobody proved", () => claims({ email_verified: false })],
  ["groups that are no texts", () => claims({ groups: ["a", { b: 1 }] })],
  ["too many groups", () => claims({ groups: Array.from({ length: 1_001 }, () => "g") })],
])("%s is refused", async (_why, payload) => {
  expect(await verifier().verify(await signed(payload()))).toBeUndefined();
});

test("times within the skew are taken", async () => {
  for (const times of [{ exp: seconds(-29) }, { nbf: seconds(29) }, { iat: seconds(29) }]) {
    expect(await verifier().verify(await signed(claims(times))), JSON.stringify(times)).toBeDefined();
  }
});

test("a key, a key address or a certificate inside a token is never used", async () => {
  const { port } = server.address() as AddressInfo;
  const evil = {
    jwk: jwks.stranger,
    jku: `http://127.0.0.1:${port}/evil`,
    x5u: `http://127.0.0.1:${port}/evil`,
    x5c: ["AAAA"],
  };
  for (const [name, value] of Object.entries(evil)) {
    expect(
      await verifier().verify(await signed(claims(), { [name]: value, kid: "old" }, "stranger")),
      name,
    ).toBeUndefined();
    expect(
      await verifier().verify(await signed(claims(), { [name]: value, kid: "x" }, "stranger")),
      name,
    ).toBeUndefined();
    // Beside a good signature it changes nothing.
    expect(await verifier().verify(await signed(claims(), { [name]: value })), name).toBeDefined();
  }
});

test("signatures of others, edited parts and strange forms are refused", async () => {
  const good = await signed(claims());
  const [header = "", payload = "", signature = ""] = good.split(".");
  const forged = [
    await signed(claims(), { kid: "old" }, "stranger"),
    `${header}.${encode(claims({ email: "root@acme.example" }))}.${signature}`,
    `${encode({ alg: "RS512", kid: "old" })}.${payload}.${signature}`,
    `${header}.${payload}.`,
    `${header}.${payload}.${signature}x`,
    `${header}.${payload}`,
    "a.b.c",
    "..",
    `${encode([])}.${payload}.${signature}`,
    `${header}.${encode("text")}.${signature}`,
    await signed(claims(), { typ: "logout+jwt" }),
    await signed(claims({ pad: "x".repeat(9_000) })),
  ];
  for (const token of forged) expect(await verifier().verify(token), token.slice(0, 40)).toBeUndefined();
  await expect(signed(claims(), { crit: ["exp"], exp: 1 })).rejects.toThrow();
});

test("an algorithm that is not listed is refused though the key would fit", async () => {
  const { alg: _, ...open } = jwks.old;
  served = [open];
  const { alg: __, ...secret } = { ...(await exportJWK(pairs.old.privateKey)), alg: "" };
  const key = await importJWK(secret, "PS256");
  const token = await new SignJWT(claims()).setProtectedHeader({ alg: "PS256", kid: "old" }).sign(key);
  expect(await verifier().verify(token)).toBeUndefined();
  expect(await verifier({ algorithms: ["PS256"] }).verify(token)).toBeDefined();
  expect(await verifier({ algorithms: ["ES256"] }).verify(await signed(claims()))).toBeUndefined();
});

test("keys are read once for many tokens", async () => {
  const one = verifier();
  const token = await signed(claims());
  await Promise.all(Array.from({ length: 20 }, () => one.verify(token)));
  for (let times = 0; times < 20; times += 1) await one.verify(token);
  expect(fetches).toBe(1);
});

test("a rotated key is found at its first token; one that is never known costs one reading in a while", async () => {
  const one = verifier();
  expect(await one.verify(await signed(claims()))).toBeDefined();
  served = [jwks.old, jwks.new];
  const rotated = await signed(claims(), {}, "new");
  expect(await one.verify(rotated)).toBeUndefined();
  clock.advance(COOLDOWN_MS);
  expect(await one.verify(rotated)).toBeDefined();
  expect(fetches).toBe(2);
  const unknown = await signed(claims(), { kid: "x" }, "stranger");
  for (let times = 0; times < 50; times += 1) expect(await one.verify(unknown)).toBeUndefined();
  expect(fetches).toBe(2);
  clock.advance(COOLDOWN_MS);
  for (let times = 0; times < 50; times += 1) expect(await one.verify(unknown)).toBeUndefined();
  expect(fetches).toBe(3);
});

test("a key that the issuer withdrew is refused after the next reading", async () => {
  const one = verifier();
  const token = await signed(claims({ exp: seconds(7_200) }));
  expect(await one.verify(token)).toBeDefined();
  served = [jwks.new];
  clock.advance(REFRESH_MS);
  expect(await one.verify(token)).toBeUndefined();
});

test("while keys cannot be read, those that were read go on for a day, and without any nobody is let in", async () => {
  status = 503;
  const one = verifier();
  const token = await signed(claims({ exp: seconds(200_000) }));
  await expect(one.verify(token)).rejects.toMatchObject({ reason: "IDENTITY_UNAVAILABLE" });
  status = 200;
  await expect(one.verify(token)).rejects.toMatchObject({ reason: "IDENTITY_UNAVAILABLE" });
  clock.advance(COOLDOWN_MS);
  expect(await one.verify(token)).toBeDefined();
  status = 503;
  clock.advance(REFRESH_MS * 3);
  expect(await one.verify(token)).toBeDefined();
  expect(troubles).toHaveLength(2);
  clock.advance(KEPT_MS_MAX);
  await expect(one.verify(token)).rejects.toMatchObject({ reason: "IDENTITY_UNAVAILABLE" });
});

test("what a key server says besides keys is not believed", async () => {
  for (const keys of ["x", null, 7, {}]) {
    served = keys as never;
    const one = verifier();
    await expect(one.verify(await signed(claims()))).rejects.toMatchObject({ reason: "IDENTITY_UNAVAILABLE" });
  }
});
