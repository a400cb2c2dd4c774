// The error of manifests that were refused: MANIFEST_INVALID with every finding and its position.
// Thrown by apply and by invoke (a reference broke); rpc/error_map.ts sends the findings as a ManifestErrors detail.
// Never holds manifest text beyond what a finding quotes.

import { DomainError } from "../../kit/errors.ts";
import type { DiagnosticView } from "./views.ts";

/** MANIFEST_INVALID with its findings, in file order. */
export class ManifestInvalidError extends DomainError {
  readonly diagnostics: readonly DiagnosticView[];

  /** @param diagnostics at least one of severity "error" (or "warning" in strict mode). */
  constructor(message: string, diagnostics: readonly DiagnosticView[], metadata: Record<string, string> = {}) {
    super("MANIFEST_INVALID", message, metadata);
    this.diagnostics = diagnostics;
  }
}
