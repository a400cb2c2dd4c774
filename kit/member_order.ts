// The members of an object in the order of canonical JSON, remembered by the names that it has and their order: documents of one kind are
// made by the same code, so that their members need sorting once.
// Used by json.ts alone. Bounded: names from outside cannot make it grow; what is not remembered is sorted each time.

/** Name of a member, and its text with the colon after it. */
export interface OrderedMember {
  readonly name: string;
  readonly text: string;
}

// A way through names in the order in which objects have them; where an object ends, its members are sorted.
interface Step {
  readonly next: Map<string, Step>;
  members?: readonly OrderedMember[];
}

const STEPS_MAX = 5_000;
const NAME_CHARACTERS_MAX = 64;
const START: Step = { next: new Map() };
let steps = 0;

/** Members by UTF-16 code units of their names. */
export function orderedMembers(value: object): readonly OrderedMember[] {
  const names = Object.keys(value);
  let step = START;
  for (const name of names) {
    let next = step.next.get(name);
    if (next === undefined) {
      if (steps >= STEPS_MAX || name.length > NAME_CHARACTERS_MAX) return sorted(names);
      next = { next: new Map() };
      steps += 1;
      step.next.set(name, next);
    }
    step = next;
  }
  step.members ??= sorted(names);
  return step.members;
}

function sorted(names: string[]): OrderedMember[] {
  return names.sort().map((name) => ({ name, text: `${JSON.stringify(name)}:` }));
}
