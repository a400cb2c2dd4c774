// Looks at what the machine of this replica alone knows: the certificates that it shows, and the disk that it keeps state on.
// Called by diagnose.ts; the facts are read by server/host_facts.ts.

import type { Clock } from "../../kit/clock.ts";
import { DAY, SECOND } from "../../kit/units.ts";
import { bytesText, type Finding, fine, type Look, secondsText, trouble } from "./findings.ts";

/** A certificate in use. */
export interface CertificateFact {
  /** What it is for, such as "API listener". */
  readonly use: string;
  readonly file: string;
  /** Absent: the file cannot be read, and problem says why. */
  readonly validFrom?: Date;
  readonly validTo?: Date;
  readonly problem?: string;
}

/** Room on a disk. */
export interface DiskFact {
  readonly path: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** What is read of the machine, anew at each look. */
export interface HostFacts {
  certificates(): Promise<readonly CertificateFact[]>;
  /** The disk of the home; what lies there: an embedded database, keys, exported heads. */
  disk(): Promise<DiskFact>;
}

const RENEW_MS = 30 * DAY;
const FREE_PART = { warning: 0.1, error: 0.03 };

/** Validity of every certificate in use. */
export function certificateLook(host: HostFacts, clock: Clock): Look {
  return {
    name: "certificate",
    async run() {
      const facts = await host.certificates();
      if (facts.length === 0) return [fine("certificate.validity", "no listener uses certificates")];
      return facts.map((fact) => certificate(fact, clock.now()));
    },
  };
}

function certificate({ use, file, validFrom, validTo, problem }: CertificateFact, nowMs: number): Finding {
  const id = "certificate.validity";
  const subject = file;
  if (validFrom === undefined || validTo === undefined) {
    const message = `${use}: the certificate cannot be read: ${problem ?? "it holds none"}`;
    return trouble("error", id, {
      subject,
      message,
      nextStep: "put the file back; the one read before is still in use",
    });
  }
  const leftMs = validTo.getTime() - nowMs;
  const nextStep = "issue a new one into the same file: it is taken up without a restart";
  if (leftMs <= 0) {
    return trouble("error", id, { subject, message: `${use}: it expired at ${validTo.toISOString()}`, nextStep });
  }
  if (validFrom.getTime() > nowMs) {
    const message = `${use}: it is valid from ${validFrom.toISOString()} on`;
    return trouble("error", id, {
      subject,
      message,
      nextStep: "check the clock of this machine, or issue another one",
    });
  }
  const message = `${use}: it expires in ${secondsText(leftMs / SECOND)}`;
  return leftMs < RENEW_MS ? trouble("warning", id, { subject, message, nextStep }) : fine(id, message, subject);
}

/** Room left. @param id of the finding */
export function diskLook(host: Pick<HostFacts, "disk">, id = "disk.space"): Look {
  return {
    name: id,
    async run() {
      const { path, freeBytes, totalBytes } = await host.disk();
      const part = totalBytes === 0 ? 1 : freeBytes / totalBytes;
      const message = `${bytesText(freeBytes)} of ${bytesText(totalBytes)} are free`;
      if (part >= FREE_PART.warning) return [fine(id, message, path)];
      const nextStep = "make room, or shorten --run-retention and --audit-retention: a full disk stops the database";
      const severity = part < FREE_PART.error ? "error" : "warning";
      return [trouble(severity, id, { subject: path, message, nextStep })];
    },
  };
}
