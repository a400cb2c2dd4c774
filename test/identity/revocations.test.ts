// Revocation lists of a listener: what they say of a certificate, and that doubt refuses.

import { X509Certificate } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { readRevocationLists } from "../../kit/revocation_list.ts";
import { LIST_SOON_MS, Revocations } from "../../server/identity/revocations.ts";
import { type Ca, createCa } from "../harness/certificates.ts";

const HOUR_MS = 3_600_000;
let [root, next]: [Ca, Ca] = [undefined as never, undefined as never];

beforeAll(async () => {
  [root, next] = (await Promise.all([createCa("workers"), createCa("workers")])) as [Ca, Ca];
});

const read = ({ cert }: { cert: string }) => new X509Certificate(cert);
const lists = (pem: string) => readRevocationLists(Buffer.from(pem));

test("without lists nothing is revoked; with them only what is on one of the same CA", async () => {
  const [gone, stays] = await Promise.all([root.issue(), root.issue()]);
  const revocations = new Revocations();
  const standing = (one: { cert: string }) => revocations.standingOf(read(one), Date.now());
  expect(standing(gone)).toBe("good");
  revocations.replace(root.cert, undefined);
  expect(standing(gone)).toBe("good");
  revocations.replace(root.cert, lists(await root.revocationList([gone])));
  expect([standing(gone), standing(stays)]).toEqual(["CERTIFICATE_REVOKED", "good"]);
  // Of a CA that has no list nothing is known, nor of one that is not there.
  const foreign = await next.issue();
  expect(standing(foreign)).toBe("REVOCATION_LIST_MISSING");
  revocations.replace(root.cert + next.cert, lists(await root.revocationList([gone])));
  expect([standing(foreign), standing(stays)]).toEqual(["REVOCATION_LIST_MISSING", "good"]);
  // Both CAs, as while one follows the other; what one revokes is its own.
  const both = `${await root.revocationList([gone])}${await next.revocationList([stays])}`;
  revocations.replace(root.cert + next.cert, lists(both));
  expect([gone, stays, foreign].map(standing)).toEqual(["CERTIFICATE_REVOKED", "good", "good"]);
  revocations.replace(root.cert, undefined);
  expect(standing(gone)).toBe("good");
});

test("a list that has run out lets nobody in, and what it revoked stays revoked; a newer one beside it counts", async () => {
  const [gone, stays] = await Promise.all([root.issue(), root.issue()]);
  const soon = new Date(Date.now() + HOUR_MS);
  const [first, second] = await Promise.all([
    root.revocationList([gone], { nextUpdate: soon }),
    root.revocationList([], { nextUpdate: new Date(Date.now() + 2 * LIST_SOON_MS) }),
  ]);
  const revocations = new Revocations();
  revocations.replace(root.cert, lists(first));
  const later = soon.getTime();
  expect(revocations.expiry(later - 1_000)).toBe("soon");
  expect(revocations.standingOf(read(stays), later - 1_000)).toBe("good");
  expect(revocations.expiry(later)).toBe("expired");
  expect(revocations.standingOf(read(stays), later)).toBe("REVOCATION_LIST_EXPIRED");
  expect(revocations.standingOf(read(gone), later)).toBe("CERTIFICATE_REVOKED");
  revocations.replace(root.cert, lists(first + second));
  expect(revocations.expiry(later)).toBeUndefined();
  expect([gone, stays].map((one) => revocations.standingOf(read(one), later))).toEqual(["CERTIFICATE_REVOKED", "good"]);
});

test("a CA below another is looked up on that one's list", async () => {
  const below = await root.subordinate("below");
  const leaf = await below.issue();
  const revocations = new Revocations();
  const standing = () => revocations.standingOf(read(leaf), Date.now());
  const own = await below.revocationList([]);
  revocations.replace(root.cert + below.cert, lists(own + (await root.revocationList([]))));
  expect(standing()).toBe("good");
  revocations.replace(root.cert + below.cert, lists(own + (await root.revocationList([below]))));
  expect(standing()).toBe("CERTIFICATE_REVOKED");
  revocations.replace(root.cert + below.cert, lists(own));
  expect(standing()).toBe("REVOCATION_LIST_MISSING");
});

test("lists that are of no use are refused, and the earlier ones stay", async () => {
  const gone = await root.issue();
  const revocations = new Revocations();
  revocations.replace(root.cert, lists(await root.revocationList([gone])));
  const foreign = await next.revocationList([]);
  expect(() => revocations.replace(root.cert, lists(foreign))).toThrow(/none of its lists is signed/);
  expect(() => revocations.replace(root.cert, lists("nothing"))).toThrow(/DER/);
  expect(revocations.standingOf(read(gone), Date.now())).toBe("CERTIFICATE_REVOKED");
});
