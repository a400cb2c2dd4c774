// A second interpreter of graphs, written from docs/manifests.md alone, to hold the product's to: it shares no code with server/graph.
// It keeps the state of every edge instead of counters, has conditions as functions instead of CEL, and looks at whole graphs.
// Used by reference.test.ts. Maps and inputs are not in it.

/** An edge; `when` names a member of the output that must be true. */
export interface RefEdge {
  readonly from: string;
  readonly to: string;
  readonly outcome: "succeeded" | "failed" | "policyDenied" | "timedOut";
  readonly when?: "x" | "y";
  readonly otherwise?: boolean;
  readonly loop?: { readonly max: number; readonly onExhausted: "continue" | "fail" };
}

/** A node. */
export interface RefNode {
  readonly name: string;
  /** 0: join all. */
  readonly quorum: number;
  readonly first: boolean;
  /** Present: the node is a transform with that output. */
  readonly transform?: Flags;
}

/** What outputs say. */
export type Flags = { readonly x: boolean; readonly y: boolean };
/** How a task ended. */
export type RefEnd =
  | { readonly how: "ok"; readonly output: Flags }
  | { readonly how: "failed"; readonly class: "Broken" | "Timeout" }
  | { readonly how: "denied" };

type Mark = "open" | "taken" | "not";

const LIVE = new Set(["PENDING", "ACTIVE"]);

/** A run of the reference. */
export class Reference {
  readonly nodes: readonly RefNode[];
  readonly edges: readonly RefEdge[];
  run: "RUNNING" | "SUCCEEDED" | "FAILED" | "POLICY_DENIED" = "RUNNING";
  readonly state = new Map<string, string>();
  readonly iteration = new Map<string, number>();
  readonly #marks = new Map<RefEdge, Mark>();
  readonly #rounds = new Map<RefEdge, number>();
  readonly #begun = new Set<string>();
  #moving: RefEdge[] = [];
  #due: string[] = [];
  #mayForget = false;

  constructor(nodes: readonly RefNode[], edges: readonly RefEdge[]) {
    this.nodes = nodes;
    this.edges = edges;
    for (const { name } of nodes) {
      this.state.set(name, "PENDING");
      this.iteration.set(name, 0);
    }
    for (const edge of edges) this.#marks.set(edge, "open");
    // Entries start before anything that they cause.
    this.#due = nodes.map((node) => node.name).filter((name) => this.#into(name).length === 0);
    this.#settle();
  }

  /** Nodes whose task runs. */
  active(): string[] {
    return this.nodes.map((node) => node.name).filter((name) => this.state.get(name) === "ACTIVE");
  }

  end(name: string, end: RefEnd): void {
    this.#begun.clear();
    if (end.how === "ok") this.#succeed(name, end.output);
    else if (end.how === "denied") this.#fail(name, "denied", "DENIED");
    else this.#fail(name, end.class, "FAILED");
    this.#settle();
  }

  #into(name: string): RefEdge[] {
    return this.edges.filter((edge) => edge.to === name && edge.loop === undefined);
  }

  #start(name: string): void {
    const node = this.nodes.find((one) => one.name === name) as RefNode;
    this.state.set(name, "ACTIVE");
    this.#begun.add(name);
    if (node.transform !== undefined) this.#succeed(name, node.transform);
  }

  /** Edges of a group that are taken; a string: the class with which the node fails instead. */
  #choose(name: string, outcome: RefEdge["outcome"], output: Flags | undefined): RefEdge[] | string {
    const group = this.edges.filter((edge) => edge.from === name && edge.outcome === outcome);
    const plain = group.filter((edge) => edge.otherwise !== true);
    const first = this.nodes.find((one) => one.name === name)?.first === true;
    const chosen: RefEdge[] = [];
    for (const edge of plain) {
      if (first && chosen.length > 0) break;
      if (edge.when !== undefined && output?.[edge.when] !== true) continue;
      if (!this.#hasRounds(edge)) {
        if (edge.loop?.onExhausted === "fail") return "LoopExhausted";
        continue;
      }
      chosen.push(edge);
    }
    const useOtherwise = first ? chosen.length === 0 : chosen.every((edge) => edge.when === undefined);
    for (const edge of useOtherwise ? group.filter((one) => one.otherwise === true) : []) {
      if (this.#hasRounds(edge)) chosen.push(edge);
      else if (edge.loop?.onExhausted === "fail") return "LoopExhausted";
    }
    const conditional = group.some((edge) => edge.when !== undefined && edge.loop === undefined);
    if (outcome === "succeeded" && chosen.length === 0 && conditional) return "NoRoute";
    return chosen;
  }

  #hasRounds(edge: RefEdge): boolean {
    return edge.loop === undefined || (this.#rounds.get(edge) ?? 0) < edge.loop.max;
  }

  #succeed(name: string, output: Flags): void {
    const chosen = this.#choose(name, "succeeded", output);
    if (typeof chosen === "string") {
      this.#fail(name, chosen, "FAILED");
      return;
    }
    this.state.set(name, "SUCCEEDED");
    this.#leave(name, chosen);
  }

  #fail(name: string, why: string, state: "FAILED" | "DENIED"): void {
    const has = (outcome: string) => this.edges.some((edge) => edge.from === name && edge.outcome === outcome);
    const outcome =
      state === "DENIED" ? "policyDenied" : why === "Timeout" && has("timedOut") ? "timedOut" : ("failed" as const);
    const chosen = why === "NoRoute" ? [] : this.#choose(name, outcome, undefined);
    this.state.set(name, state);
    if (typeof chosen !== "string" && chosen.length > 0) {
      this.#leave(name, chosen);
      return;
    }
    this.run = state === "DENIED" ? "POLICY_DENIED" : "FAILED";
    // What has not begun never does; nor does what began with this very event.
    for (const { name: other } of this.nodes) {
      const now = this.state.get(other);
      if (now === "PENDING" || (now === "ACTIVE" && this.#begun.has(other))) this.state.set(other, "CANCELLED");
    }
  }

  #leave(name: string, chosen: readonly RefEdge[]): void {
    const back = chosen.find((edge) => edge.loop !== undefined);
    if (back !== undefined) {
      this.#again(back);
      return;
    }
    for (const edge of this.edges) {
      if (edge.from !== name || edge.loop !== undefined) continue;
      this.#marks.set(edge, chosen.includes(edge) ? "taken" : "not");
      this.#moving.push(edge);
    }
  }

  #again(back: RefEdge): void {
    const reached = new Set([back.to]);
    for (const name of reached)
      for (const edge of this.edges) {
        if (edge.from === name && edge.loop === undefined) reached.add(edge.to);
      }
    this.#moving = this.#moving.filter((edge) => !reached.has(edge.from));
    this.#rounds.set(back, (this.#rounds.get(back) ?? 0) + 1);
    for (const name of reached) {
      if (this.state.get(name) !== "PENDING") this.iteration.set(name, (this.iteration.get(name) as number) + 1);
      this.state.set(name, "PENDING");
      for (const edge of this.edges) {
        if (edge.from === name && edge.loop === undefined) this.#marks.set(edge, "open");
        if (edge.to === name && edge.loop !== undefined && name !== back.to) this.#rounds.delete(edge);
      }
    }
    this.#due = this.#due.filter((name) => !reached.has(name));
    this.#due.push(back.to);
    for (const { name } of this.nodes) {
      if (!reached.has(name) || name === back.to) continue;
      if (this.#arrived(name) && this.#marksInto(name).length > 0) this.#due.push(name);
    }
  }

  /** Marks of edges into a node that have got there. */
  #marksInto(name: string): Mark[] {
    return this.#into(name).map((edge) => (this.#moving.includes(edge) ? "open" : (this.#marks.get(edge) as Mark)));
  }

  #arrived(name: string): boolean {
    const marks = this.#marksInto(name);
    const quorum = this.nodes.find((one) => one.name === name)?.quorum ?? 0;
    const taken = marks.filter((mark) => mark === "taken").length;
    return quorum === 0 ? taken > 0 && !marks.includes("open") : taken >= quorum;
  }

  #settle(): void {
    while (this.run === "RUNNING") {
      const due = this.#due.shift();
      if (due !== undefined) {
        if (this.state.get(due) === "PENDING") this.#begin(due);
        continue;
      }
      const edge = this.#moving.shift();
      if (edge === undefined) {
        if (!this.#mayForget) break;
        this.#mayForget = false;
        this.#forget();
        continue;
      }
      if (this.state.get(edge.to) === "PENDING") this.#look(edge.to);
    }
    if (this.run === "RUNNING" && ![...this.state.values()].some((state) => LIVE.has(state))) this.run = "SUCCEEDED";
  }

  #look(name: string): void {
    const marks = this.#marksInto(name);
    const quorum = this.nodes.find((one) => one.name === name)?.quorum ?? 0;
    const taken = marks.filter((mark) => mark === "taken").length;
    const open = marks.filter((mark) => mark === "open").length;
    if (this.#arrived(name)) this.#begin(name);
    else if (open === 0 && taken === 0) {
      this.state.set(name, "SKIPPED");
      this.#leave(name, []);
    } else if (quorum > 0 && taken > 0 && taken + open < quorum) {
      this.#fail(name, "JoinUnreachable", "FAILED");
      this.#mayForget = true;
    }
  }

  #begin(name: string): void {
    this.#start(name);
    if ((this.nodes.find((one) => one.name === name)?.quorum ?? 0) > 0) this.#mayForget = true;
  }

  // Whatever still lives and leads only to nodes that do not wait for it.
  #forget(): void {
    for (let again = this.run === "RUNNING"; again; ) {
      again = false;
      for (const { name } of this.nodes) {
        if (!LIVE.has(this.state.get(name) as string)) continue;
        const onward = this.edges.filter(
          (edge) => edge.from === name && edge.loop === undefined && edge.outcome === "succeeded",
        );
        if (onward.length === 0 || onward.some((edge) => this.state.get(edge.to) === "PENDING")) continue;
        this.state.set(name, "CANCELLED");
        this.#leave(name, []);
        again = true;
      }
    }
  }
}
