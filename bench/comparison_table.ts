// Ours and the other engines side by side, for people: who, runs a second, and how much faster ours is.
// Called by main.ts with the result of a suite; of one without peers there is nothing to show. Pure.

interface Compared {
  readonly ours: { readonly runs_per_s: number };
  readonly peers: Readonly<Record<string, { readonly version: string; readonly runs_per_s: number }>>;
  readonly ratios: Readonly<Record<string, number>>;
  readonly raw_limit: { readonly tasks_per_s: number; readonly ours: number };
}

/** Lines of the table; none for a result without peers. */
export function tableOf(result: object): string[] {
  if (!("peers" in result)) return [];
  const { ours, peers, ratios, raw_limit: raw } = result as unknown as Compared;
  const line = (name: string, figure: number | string, ratio: string) =>
    `${name.padEnd(34)}${String(figure).padStart(10)}  ${ratio}`.trimEnd();
  return [
    line("", "runs/s", "ours is"),
    line("ours", ours.runs_per_s, ""),
    ...Object.entries(peers).map(([name, { version, runs_per_s }]) =>
      line(`${name} ${version}`, runs_per_s, `${ratios[name]} ×`),
    ),
    line("raw limit, tasks/s", raw.tasks_per_s, `${raw.ours} of it`),
  ];
}
