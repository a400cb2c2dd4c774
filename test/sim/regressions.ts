// Histories that once broke a rule, kept: every search replays them first. The words are what a counterexample prints.

export interface Regression {
  readonly name: string;
  readonly words: readonly string[];
}

export const REGRESSIONS: readonly Regression[] = [
  {
    name: "a late copy of a question voided the grant that its asker was using",
    words: ["work clean 0 0 0", "work clean 0 0 0", "work clean 0 0 0", "work duplicate 14 0 20"],
  },
  {
    name: "a tick that was slow woke a task again before its next delay was over",
    words: [
      ...[
        "work clean 0 0 0",
        "work clean 0 0 0",
        "fail lost_ack 20 0 8",
        "passTime delay 29 22 5",
        "lookOnly drop 20 16 3",
      ],
      ...["work clean 0 0 0", "tick drop_reply 11 9 12", "work clean 0 0 0", "fail delay 10 27 28", "work clean 0 0 0"],
      "lookOnly delay 4 20 21",
    ],
  },
  {
    name: "a retry of a replayed task forgot the turn that its predecessor had recorded, for its call is the predecessor's",
    words: [
      ...[
        "invoke clean 4 1 0",
        "claim clean 0 0 2",
        "work clean 0 0 0",
        "work clean 0 0 0",
        "work clean 0 0 0",
        "fail clean 0 1 0",
      ],
      ...["replay clean 0 1 0", "claim clean 0 0 2", "fail clean 0 0 0"],
    ],
  },
];
