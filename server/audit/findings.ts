// What a check of the trail can find wrong, and where.
// Made by segment_check.ts and trail_verifier.ts; printed by cli/audit_verify.ts. docs/audit.md explains each kind.

/** Kinds of findings. */
export const FINDING_KINDS = Object.freeze([
  "edited",
  "missing",
  "inserted",
  "reordered",
  "truncated",
  "forked",
  "unsigned",
] as const);

/** Kind of a finding. */
export type FindingKind = (typeof FINDING_KINDS)[number];

/** One thing that is wrong. */
export interface Finding {
  readonly kind: FindingKind;
  /** Place of the first record concerned, counted from 1 over the whole trail. */
  readonly sequence: number;
  /** Segment that it is, or was, in. */
  readonly segment: number;
  /** Id of that record, where it is known. */
  readonly id?: string;
  readonly message: string;
}

/** The finding that comes first in the trail; of several at one place the one that was found first. */
export function firstFinding(findings: readonly Finding[]): Finding | undefined {
  return findings.reduce<Finding | undefined>(
    (first, finding) => (first === undefined || finding.sequence < first.sequence ? finding : first),
    undefined,
  );
}
