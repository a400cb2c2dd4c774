// Colours of a terminal, and the sign and tone of every state.
// Called by the renderers. Pure: whether colours are on comes in as a value (off without a terminal or with NO_COLOR).
// A state never differs by colour alone.

/** Meaning of a piece of text; the palette decides its colour. */
export type Tone = "plain" | "dim" | "bold" | "good" | "bad" | "busy" | "warn" | "denied";

/** Paints text in a tone. */
export type Paint = (tone: Tone, text: string) => string;

const CODES: Readonly<Record<Exclude<Tone, "plain">, string>> = {
  dim: "2",
  bold: "1",
  good: "32",
  bad: "31",
  busy: "36",
  warn: "33",
  denied: "35",
};

/** A palette with or without colours. */
export function palette(colour: boolean): Paint {
  return (tone, text) => (colour && tone !== "plain" && text !== "" ? `\u001b[${CODES[tone]}m${text}\u001b[0m` : text);
}

interface Look {
  readonly sign: string;
  readonly tone: Tone;
}

// States of runs, nodes and tasks share names; a name means the same look everywhere.
const LOOKS: Readonly<Record<string, Look>> = {
  PENDING: { sign: "○", tone: "dim" },
  WAITING: { sign: "◌", tone: "warn" },
  READY: { sign: "○", tone: "plain" },
  ACTIVE: { sign: "●", tone: "busy" },
  LEASED: { sign: "●", tone: "busy" },
  RUNNING: { sign: "●", tone: "busy" },
  CANCELLING: { sign: "◍", tone: "warn" },
  PARKED: { sign: "‖", tone: "warn" },
  SUCCEEDED: { sign: "✔", tone: "good" },
  FAILED: { sign: "✘", tone: "bad" },
  TIMED_OUT: { sign: "✘", tone: "bad" },
  DEAD_LETTERED: { sign: "‖", tone: "bad" },
  SKIPPED: { sign: "–", tone: "dim" },
  CANCELLED: { sign: "■", tone: "warn" },
  DENIED: { sign: "⊘", tone: "denied" },
  POLICY_DENIED: { sign: "⊘", tone: "denied" },
};

/** Sign and tone of a state name. */
export function lookOf(state: string): Look {
  return LOOKS[state] ?? { sign: "?", tone: "plain" };
}
