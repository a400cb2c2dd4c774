// The operations side of the sandbox: health, changes, restarts and tickets of a few services; deployments and their way back.
// Called by service.ts. The tools of examples/incident-triage and examples/governed-deployment work on it.
// Keeps everything in memory. The first request for changes is answered with 503, as a service with a cold cache would.

import type { Clock } from "../kit/clock.ts";
import { MINUTE } from "../kit/units.ts";
import { type Asked, type Effects, type Reply, refusal } from "./reply.ts";

/** What the first request for changes is told to wait, in seconds. */
const RETRY_AFTER_SECONDS = 1;

interface Service {
  readonly name: string;
  state: "healthy" | "failing";
  errorsPerMinute: number;
  /** Oldest first; the last one runs. */
  readonly versions: string[];
  /** Newest first. */
  readonly changes: { readonly time: string; readonly what: string }[];
}

/** See the file header. */
export class Operations {
  readonly #clock: Clock;
  readonly #effects: Effects;
  readonly #services: Map<string, Service>;
  readonly #deployments: { id: string; service: string; version: string; time: string }[] = [];
  #warm = false;

  constructor(clock: Clock, effects: Effects) {
    this.#clock = clock;
    this.#effects = effects;
    const ago = (ms: number) => new Date(clock.now() - ms).toISOString();
    const failing: Service = {
      ...{ name: "checkout", state: "failing", errorsPerMinute: 42, versions: ["v6", "v7"] },
      changes: [
        { time: ago(9 * MINUTE), what: "deployment of v7" },
        { time: ago(95 * MINUTE), what: "deployment of v6" },
      ],
    };
    const healthy: Service = {
      ...{ name: "search", state: "healthy", errorsPerMinute: 0, versions: ["v30", "v31"] },
      changes: [],
    };
    this.#services = new Map([failing, healthy].map((service) => [service.name, service]));
    this.#deployments.push({ id: "dep-1", service: "checkout", version: "v7", time: ago(9 * MINUTE) });
  }

  /** Answers what concerns services, tickets and deployments; undefined when it is none of these. */
  answer({ method, path, body }: Asked): Reply | undefined {
    const [collection, name, part] = path;
    if (collection === "tickets" && method === "POST" && name === undefined) return this.#openTicket(body);
    if (collection === "deployments" && name === undefined) {
      if (method === "GET") return { status: 200, body: { deployments: [...this.#deployments].reverse() } };
      return this.#deploy(body);
    }
    if (collection !== "services") return undefined;
    const service = this.#services.get(name ?? "");
    if (service === undefined) return refusal(404, "no such service");
    if (method === "GET" && part === undefined) return { status: 200, body: healthOf(service) };
    if (method === "GET" && part === "changes") return this.#changes(service);
    if (method === "POST" && part === "restart") return this.#restart(service, body);
    if (method === "POST" && part === "rollback") return this.#rollBack(service);
    return undefined;
  }

  #changes(service: Service): Reply {
    if (!this.#warm) {
      this.#warm = true;
      return { ...refusal(503, "the change log is loading"), headers: { "retry-after": String(RETRY_AFTER_SECONDS) } };
    }
    return { status: 200, body: { changes: service.changes } };
  }

  #openTicket(body: Asked["body"]): Reply {
    this.#effects.tickets += 1;
    return { status: 201, body: { ticketId: `OPS-${this.#effects.tickets}`, about: body, time: this.#now() } };
  }

  #restart(service: Service, body: Asked["body"]): Reply {
    this.#effects.restarts += 1;
    this.#recover(service, `restart (${String(body["reason"] ?? "no reason given")})`);
    return { status: 200, body: { restartId: `restart-${this.#effects.restarts}`, time: this.#now() } };
  }

  #deploy(body: Asked["body"]): Reply {
    const service = this.#services.get(String(body["service"]));
    if (service === undefined) return refusal(404, "no such service");
    const version = String(body["version"]);
    this.#effects.deployments += 1;
    service.versions.push(version);
    this.#recover(service, `deployment of ${version}`);
    const id = `dep-${this.#deployments.length + 1}`;
    this.#deployments.push({ id, service: service.name, version, time: this.#now() });
    return { status: 201, body: { deploymentId: id, time: this.#now() } };
  }

  #rollBack(service: Service): Reply {
    if (service.versions.length < 2) return refusal(409, "there is no version before this one");
    const left = service.versions.pop();
    this.#effects.rollbacks += 1;
    this.#recover(service, `rollback of ${left}`);
    return { status: 200, body: { rollbackId: `rollback-${this.#effects.rollbacks}`, ...healthOf(service) } };
  }

  #recover(service: Service, what: string): void {
    service.state = "healthy";
    service.errorsPerMinute = 0;
    service.changes.unshift({ time: this.#now(), what });
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }
}

function healthOf({ name, state, versions, errorsPerMinute }: Service) {
  return { name, state, version: versions.at(-1) ?? "none", errorsPerMinute };
}
