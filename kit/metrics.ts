// Counters and histograms in memory, and the text in which Prometheus reads them (exposition format 0.0.4).
// Counted by server/telemetry from what was committed; rendered when somebody scrapes.
// Labels whose values come from outside are open, and bounded: once a family has SERIES_MAX combinations, they read OTHER in every new one,
// so that no tenant can fill the memory of a process, or of whoever scrapes it. Labels of closed lists keep their values.
// Holds no clock and no timers.

/** What Prometheus calls the type of a metric. */
export type MetricType = "counter" | "gauge" | "histogram";

/** Labels of one sample. */
export type Labels = Readonly<Record<string, string>>;

/** One line of a metric; the suffix is that of histograms. */
export interface Sample {
  readonly suffix?: "_bucket" | "_sum" | "_count";
  readonly labels: Labels;
  readonly value: number;
}

/** A metric with all of its samples. */
export interface Family {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Different combinations of labels after which a family takes no new values of open ones. */
export const SERIES_MAX = 500;
/** Stands for the values that came after those. */
export const OTHER = "_other";

const LABEL_CHARACTERS_MAX = 128;

/** A counter with labels; never goes down while the process lives. */
export class Counter {
  readonly #name: string;
  readonly #help: string;
  readonly #labels: readonly string[];
  readonly #open: ReadonlySet<string>;
  readonly #values = new Map<string, { readonly labels: Labels; value: number }>();

  /**
   * @param labels names of the labels, in the order in which `add` takes their values
   * @param open   those of them whose values come from outside
   */
  constructor(name: string, help: string, labels: readonly string[], open: ReadonlySet<string> = new Set()) {
    this.#name = name;
    this.#help = help;
    this.#labels = labels;
    this.#open = open;
    // Without labels there is one value, and it is there from the start: a rate of nothing is 0.
    if (labels.length === 0) this.add([], 0);
  }

  add(values: readonly string[], by = 1): void {
    const known = this.#values.get(keyOf(values)) ?? this.#bounded(values);
    known.value += by;
  }

  // What is kept under the shortened values, so that two that are alike then are one: a scrape may name none twice.
  #bounded(values: readonly string[]): { value: number } {
    const short = values.map((value) => value.slice(0, LABEL_CHARACTERS_MAX).toWellFormed());
    const known = this.#values.get(keyOf(short));
    if (known !== undefined || this.#values.size < SERIES_MAX) return known ?? this.#begin(short);
    const other = short.map((value, index) => (this.#open.has(this.#labels[index] ?? "") ? OTHER : value));
    return this.#values.get(keyOf(other)) ?? this.#begin(other);
  }

  #begin(values: readonly string[]): { value: number } {
    const pairs = this.#labels.map((name, index) => [name, values[index] ?? ""]);
    const begun = { labels: Object.fromEntries(pairs) as Labels, value: 0 };
    this.#values.set(keyOf(values), begun);
    return begun;
  }

  family(): Family {
    return { name: this.#name, type: "counter", help: this.#help, samples: [...this.#values.values()] };
  }
}

function keyOf(values: readonly string[]): string {
  return values.join("\u0000");
}

interface Observed {
  readonly labels: Labels;
  readonly counts: number[];
  sum: number;
}

/** A histogram. Its labels must have few values: it keeps them all. */
export class Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #observed = new Map<string, Observed>();

  /** @param bounds upper bounds of the buckets, ascending; +Inf is added */
  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  observe(value: number, labels: Labels = {}): void {
    const key = keyOf(Object.values(labels));
    let observed = this.#observed.get(key);
    if (observed === undefined) {
      observed = { labels, counts: new Array<number>(this.#bounds.length + 1).fill(0), sum: 0 };
      this.#observed.set(key, observed);
    }
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    const index = bucket === -1 ? this.#bounds.length : bucket;
    observed.counts[index] = (observed.counts[index] ?? 0) + 1;
    observed.sum += value;
  }

  family(): Family {
    const samples = [...this.#observed.values()].flatMap(({ labels, counts, sum }): Sample[] => {
      let total = 0;
      const buckets = counts.map((count, index): Sample => {
        total += count;
        const le = this.#bounds[index] === undefined ? "+Inf" : String(this.#bounds[index]);
        return { suffix: "_bucket", labels: { ...labels, le }, value: total };
      });
      return [...buckets, { suffix: "_sum", labels, value: sum }, { suffix: "_count", labels, value: total }];
    });
    return { name: this.#name, type: "histogram", help: this.#help, samples };
  }
}

/** A gauge that was read just now. */
export function gauge(name: string, help: string, samples: readonly Sample[] | number): Family {
  const all = typeof samples === "number" ? [{ labels: {}, value: samples }] : samples;
  return { name, type: "gauge", help, samples: all };
}

/** The content type of what `exposition` makes. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** The text of a scrape. Families without samples are named all the same, so that a reader learns of them. */
export function exposition(families: readonly Family[]): string {
  return families
    .flatMap(({ name, type, help, samples }) => [
      `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
      `# TYPE ${name} ${type}`,
      ...samples.map(({ suffix = "", labels, value }) => `${name}${suffix}${labelText(labels)} ${value}`),
    ])
    .map((line) => `${line}\n`)
    .join("");
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const text = value.toWellFormed().replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    return `${name}="${text}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
