// Reads what /metrics says, as Prometheus does: strictly, so that what it would refuse fails a test.
// Used by the tests of metrics and of the dashboard and alert rules that are made of them.

/** One line of a scrape. */
export interface ScrapedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What was scraped. */
export interface Scrape {
  readonly text: string;
  /** Type by the name of the family. */
  readonly types: ReadonlyMap<string, string>;
  readonly samples: readonly ScrapedSample[];
  /** The one value with these labels; 0 when there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const PAIR = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/** @throws for a text that is not in the exposition format, and for a sample that comes twice */
export function parseScrape(text: string): Scrape {
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  const types = new Map<string, string>();
  const samples: ScrapedSample[] = [];
  const seen = new Set<string>();
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type?.[1] !== undefined && type[2] !== undefined) {
      if (types.has(type[1])) throw new Error(`${type[1]} comes twice`);
      types.set(type[1], type[2]);
    } else if (!/^# HELP \S+ \S/.test(line)) {
      const sample = parseSample(line);
      const family = types.has(sample.name) ? sample.name : sample.name.replace(/_(bucket|sum|count)$/, "");
      if (!types.has(family)) throw new Error(`no TYPE before ${line}`);
      const key = JSON.stringify([sample.name, sample.labels]);
      if (seen.has(key)) throw new Error(`${key} comes twice`);
      seen.add(key);
      samples.push(sample);
    }
  }
  const value = (name: string, labels: Readonly<Record<string, string>> = {}) => {
    const fitting = samples.filter(
      (each) => each.name === name && Object.entries(labels).every(([key, text]) => each.labels[key] === text),
    );
    return fitting.reduce((sum, each) => sum + each.value, 0);
  };
  return { text, types, samples, value };
}

function parseSample(line: string): ScrapedSample {
  const [, name, pairs = "", number] = LINE.exec(line) ?? [];
  const value = number === "+Inf" ? Number.POSITIVE_INFINITY : Number(number);
  if (name === undefined || number === undefined || Number.isNaN(value)) throw new Error(`not a sample: ${line}`);
  const labels: Record<string, string> = {};
  for (PAIR.lastIndex = 0; PAIR.lastIndex < pairs.length; ) {
    const [, label, escaped] = PAIR.exec(pairs) ?? [];
    if (label === undefined || escaped === undefined) throw new Error(`not labels: ${line}`);
    labels[label] = escaped.replace(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
  }
  return { name, labels, value };
}

/** What a server or worker says at its ops listener. */
export async function scrape(ops: string): Promise<Scrape> {
  const response = await fetch(new URL("/metrics", ops));
  if (response.status !== 200) throw new Error(`/metrics answered ${response.status}`);
  return parseScrape(await response.text());
}
