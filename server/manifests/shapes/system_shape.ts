// The shape of kind AgentSystem: nodes and edges of a graph.
// Called by kinds.ts of this folder. The rules are those of ../agent_system.ts, ../graph_nodes.ts, and ../graph_edges.ts.

import { LOOP_MAX } from "../graph_edges.ts";
import { MAP_CONCURRENCY, NODES_MAX } from "../graph_nodes.ts";
import { EDGE_OUTCOMES } from "../specs.ts";
import { flag, keys, label, list, map, type Shape, schema, template, text, whenThere, whole, word } from "./shape.ts";

const TARGETS = ["agent", "tool", "system", "transform"];
const NODE_NAME = "^[a-z][a-z0-9_]{0,62}$";

const JOIN: Shape = {
  description:
    "When a node with several incoming edges starts: all resolved and one taken, the first taken, or so many taken.",
  default: "all",
  anyOf: [
    word("all or any.", ["all", "any"]),
    map("So many edges.", { quorum: whole("Edges that must be taken.", { min: 1, max: NODES_MAX }) }, ["quorum"]),
  ],
};

const ENDS = (description: string): Shape => ({
  description,
  anyOf: [text("Name of a node."), list("Names of nodes.", text("Name of a node."), { min: 1 })],
});

const NODE = map(
  "One place in the graph. It has one of agent, tool, system, transform.",
  {
    name: text("Name; no reserved word of CEL.", { pattern: NODE_NAME }),
    agent: label("Agent that is asked."),
    tool: label("Tool that is called once with the node's input."),
    system: label("AgentSystem that is put in this place."),
    transform: template("Template over input, nodes, iteration that makes the output, without a task."),
    map: map(
      "The node is executed once for each item of a list.",
      {
        over: text("CEL over input, nodes, iteration that gives the list."),
        as: text("Name of the item in the node's input.", { pattern: NODE_NAME }),
        concurrency: whole("Items that are executed at a time.", { min: 1, max: 1_000 }, MAP_CONCURRENCY),
        onItemError: word(
          "An item failed for good: fail the node, skip the item, or collect it as {error}.",
          ["fail", "skip", "collect"],
          "fail",
        ),
      },
      ["over", "as"],
    ),
    join: JOIN,
    route: word("Which edges that hold are taken: all, or the first in file order.", ["all", "first"], "all"),
    input: template(
      "Template over input, nodes, iteration, and a map's item. Absent: the system's input, or the item.",
    ),
  },
  ["name"],
  [
    { oneOf: TARGETS.map((key) => ({ required: [key] })) },
    whenThere("system", keys([], ["map"])),
    whenThere("transform", keys([], ["map", "input"])),
  ],
);

const EDGE = map(
  "From one node to another.",
  {
    from: ENDS("Where the edge begins: a name, or a list of names."),
    to: ENDS("Where it leads: a name, or a list of names."),
    when: text(
      "CEL over output (outputs of a map; error for another outcome than succeeded), input, iteration. Absent: always.",
    ),
    otherwise: flag("Taken only if no `when` of its group was.", false),
    outcome: word("End of `from` that the edge is for.", EDGE_OUTCOMES, "succeeded"),
    loop: map(
      "The edge leads back.",
      {
        max: whole("How often it may be taken.", { min: 1, max: LOOP_MAX }),
        onExhausted: word(
          "It may not be taken any more: it counts as not taken, or its node fails.",
          ["continue", "fail"],
          "fail",
        ),
      },
      ["max"],
    ),
  },
  ["from", "to"],
  [whenThere("when", { properties: { otherwise: { const: false } } })],
);

/** The spec of an AgentSystem. */
export const SYSTEM_SPEC = map(
  "The graph: which agent runs when, on what input.",
  {
    description: text("What the system is for.", { default: "" }),
    inputSchema: schema("JSON Schema of its input."),
    nodes: list("Its nodes.", NODE, { min: 1, max: NODES_MAX }),
    edges: list("Its edges. A node without an incoming edge, loop edges aside, starts with the run.", EDGE),
    output: map(
      "What the system gives.",
      { schema: schema("JSON Schema that the value must fit."), value: template("Template over input and nodes.") },
      ["value"],
    ),
  },
  ["nodes", "output"],
);
