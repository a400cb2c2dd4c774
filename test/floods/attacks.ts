// Every attack by name, and all of them together. Called by attacker.ts, which runs one, and by campaign.ts, which plans them.

import type { Attack } from "./attack.ts";
import { FRAME_ATTACKS } from "./frame_attacks.ts";
import { HELD_ATTACKS } from "./held_attacks.ts";
import { PAYLOAD_ATTACKS } from "./payload_attacks.ts";

/** By name. */
export const ATTACKS: Readonly<Record<string, Attack>> = { ...FRAME_ATTACKS, ...HELD_ATTACKS, ...PAYLOAD_ATTACKS };

/** What is run side by side as one more attack: frames, connections and streams at once. */
export const COMBINED = ["rapid_reset", "ping_flood", "held_streams", "slow_headers", "garbage"] as const;
