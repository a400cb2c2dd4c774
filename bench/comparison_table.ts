// Ours and the other engines side by side, for people: who, runs a second, and how much faster ours is; and which of them failed.
// Called by main.ts with the result of a suite; of one without peers there is nothing to show. Pure.

type ComparedPeer = { readonly version: string } & ({ readonly runs_per_s: number } | { readonly failed: string });

interface Compared {
  readonly ours: { readonly runs_per_s: number };
  readonly peers: Readonly<Record<string, ComparedPeer>>;
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
    ...Object.entries(peers).map(([name, peer]) =>
      "failed" in peer
        ? line(`${name} ${peer.version}`, "failed", "")
        : line(`${name} ${peer.version}`, peer.runs_per_s, `${ratios[name]} ×`),
    ),
    line("raw limit, tasks/s", raw.tasks_per_s, `${raw.ours} of it`),
  ];
}

/** The engines that failed, each with why; none in a result without peers. */
export function failuresIn(result: object): string[] {
  if (!("peers" in result)) return [];
  const { peers } = result as Pick<Compared, "peers">;
  return Object.entries(peers).flatMap(([name, peer]) => ("failed" in peer ? [`${name} failed: ${peer.failed}`] : []));
}
