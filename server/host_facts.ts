// What the machine of a server says of itself when an operator asks: the certificates in use, and the room on the disk of its home.
// Made by main.ts for commands/diagnose_host.ts. Reads files anew each time; never a private key.

import { X509Certificate } from "node:crypto";
import { readFile, statfs } from "node:fs/promises";
import { messageOf } from "../kit/errors.ts";
import type { CertificateFact, HostFacts } from "./commands/diagnose_host.ts";

/** A file of certificates, and what it is for; the first certificate of the file counts. */
export interface CertificateFile {
  readonly use: string;
  readonly file: string;
}

/** Facts of this machine. */
export function hostFacts(home: string, files: readonly CertificateFile[]): HostFacts {
  return {
    certificates: () => Promise.all(files.map(certificateFact)),
    async disk() {
      const { bavail, blocks, bsize } = await statfs(home);
      return { path: home, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    },
  };
}

async function certificateFact({ use, file }: CertificateFile): Promise<CertificateFact> {
  try {
    const { validFromDate, validToDate } = new X509Certificate(await readFile(file));
    return { use, file, validFrom: validFromDate, validTo: validToDate };
  } catch (error) {
    return { use, file, problem: messageOf(error) };
  }
}
