// Systems that must be refused.
// Read by validate.test.ts through invalid_manifests.ts. § stands right before the place of the finding.
// Never holds a row that a valid manifest could match.

import { type InvalidManifest, OUT, row, system, TWO } from "./invalid_row.ts";

/** Every row. */
export const INVALID_GRAPHS: readonly InvalidManifest[] = [
  // AgentSystem
  row(
    "E-NAME",
    "a node name with a dash",
    system(`nodes: [{name: §my-node, agent: free}]\n${OUT}`),
    'did you mean "my_node"?',
  ),
  row(
    "E-NAME",
    "a node named by a reserved word",
    system(`nodes: [{name: §loop, agent: free}]\n${OUT}`),
    "reserved word",
  ),
  row(
    "E-DUPLICATE",
    "two nodes of one name",
    system(`nodes: [{name: a, agent: free}, §{name: a, agent: free}]\n${OUT}`),
    "two nodes",
  ),
  row(
    "E-REFERENCE",
    "a tool node without its tool",
    system(`nodes: [{name: a, tool: §refund}]\n${OUT}`),
    "there is no Tool",
  ),
  row(
    "E-CYCLE",
    "a system that contains itself",
    system(`nodes: [{name: a, system: §desk}]\n${OUT}`),
    "contains itself: default/desk → default/desk",
  ),
  row(
    "E-REFERENCE",
    "a system node without its system",
    system(`nodes: [{name: a, system: §dsk}]\n${OUT}`),
    'did you mean "desk"?',
  ),
  row(
    "E-UNION",
    "a mapped system",
    system(`nodes: [{name: a, system: desk, §map: {over: "[1]", as: x}}]\n${OUT}`),
    "a system is not mapped",
  ),
  row(
    "E-UNION",
    "a tool node with an agent",
    system(`nodes: [{name: a, agent: free, §tool: refund}]\n${OUT}`),
    "one of agent",
  ),
  row(
    "E-UNION",
    "a mapped transform",
    system(`nodes: [{name: a, transform: 1, §map: {over: input.x, as: x}}]\n${OUT}`),
    'no "map"',
  ),
  row("E-MISSING", "a map over nothing", system(`nodes: [{name: a, agent: free, map: §{as: x}}]\n${OUT}`), "over"),
  row(
    "E-NAME",
    "an item that is called like a variable",
    system(`nodes: [{name: a, agent: free, map: {over: "[1]", as: §input}}]\n${OUT}`),
    "means something else",
  ),
  row(
    "E-VALUE",
    "a map without concurrency",
    system(`nodes: [{name: a, agent: free, map: {over: "[1]", as: x, concurrency: §0}}]\n${OUT}`),
    "between 1 and 1000",
  ),
  row(
    "E-INPUT",
    "a map over what is no list",
    system(`nodes: [{name: a, agent: free, map: {over: §input.text, as: x}}]\n${OUT}`),
    "over is a list, found string",
  ),
  row(
    "E-EXPRESSION",
    "a map over something unknown",
    system(`nodes: [{name: a, agent: free, map: {over: §inptu.x, as: x}}]\n${OUT}`),
    'did you mean "input"?',
  ),
  row(
    "E-EXPRESSION",
    "a read of the output of a mapped node",
    system(
      `nodes: [{name: a, agent: free, map: {over: "[1]", as: x}}, {name: b, agent: free, input: "\${{ §nodes.a.output }}"}]\nedges: [{from: a, to: b}]\n${OUT}`,
    ),
    "it has outputs",
  ),
  row(
    "E-EXPRESSION",
    "a condition on the output of a mapped node",
    system(
      `nodes: [{name: a, agent: free, map: {over: "[1]", as: x}}, {name: b, agent: free}]\nedges: [{from: a, to: b, when: §output.x == 1}]\n${OUT}`,
    ),
    "it has outputs",
  ),
  row(
    "E-INPUT",
    "an item that does not fit the agent",
    system(`nodes: [{name: §a, agent: asker, map: {over: input.texts, as: x}}]\n${OUT}`)
      .replace("size: {type: integer}", "size: {type: integer}, texts: {type: array, items: {type: string}}")
      .replace("required: [text]", "required: [text, texts]"),
    "gets the item",
  ),
  row(
    "E-JOIN",
    "a quorum larger than the edges that lead to the node",
    system(`${TWO}\n  - {name: c, agent: free, join: §{quorum: 3}}\nedges: [{from: [a, b], to: c}]\n${OUT}`),
    "at most {quorum: 2}",
  ),
  row(
    "E-JOIN",
    "join any on an entry node",
    system(`nodes: [{name: a, agent: free, join: §any}]\n${OUT}`),
    "remove join",
  ),
  row(
    "E-VALUE",
    "an unknown join",
    system(`nodes: [{name: a, agent: free, join: §one}]\n${OUT}`),
    "not one of all, any",
  ),
  row("E-MISSING", "a join without a quorum", system(`nodes: [{name: a, agent: free, join: §{}}]\n${OUT}`), "quorum"),
  row(
    "E-VALUE",
    "a quorum of nothing",
    system(`nodes: [{name: a, agent: free, join: {quorum: §0}}]\n${OUT}`),
    "between 1",
  ),
  row(
    "E-VALUE",
    "an unknown route",
    system(`nodes: [{name: a, agent: free, route: §frist}]\n${OUT}`),
    'did you mean "first"?',
  ),
  row(
    "E-UNION",
    "a transform with an agent",
    system(`nodes: [{name: a, agent: free, §transform: 1}]\n${OUT}`),
    "one of agent",
  ),
  row(
    "E-UNION",
    "a transform with an input",
    system(`nodes: [{name: a, transform: 1, §input: 2}]\n${OUT}`),
    'no "input"',
  ),
  row(
    "E-EXPRESSION",
    "a transform that reads something unknown",
    system(`nodes: [{name: a, transform: "\${{ §output }}"}]\n${OUT}`),
    "unknown name",
  ),
  row(
    "E-DOMINATION",
    "a transform that reads a node beside it",
    system(`nodes: [{name: a, agent: free}, {name: t, transform: "\${{ §nodes.a.output }}"}]\n${OUT}`),
    "does not run before",
  ),
  row(
    "E-VALUE",
    "an unknown outcome",
    system(`${TWO}\nedges: [{from: a, to: b, outcome: §fialed}]\n${OUT}`),
    'did you mean "failed"?',
  ),
  row(
    "E-EXPRESSION",
    "an error edge that reads an output",
    system(`${TWO}\nedges: [{from: a, to: b, outcome: failed, when: §output.route == "x"}]\n${OUT}`),
    'unknown name "output"',
  ),
  row(
    "E-EXPRESSION",
    "an error edge that misspells what an error has",
    system(`${TWO}\nedges: [{from: a, to: b, outcome: failed, when: §error.clas == "Timeout"}]\n${OUT}`),
    'did you mean "class"?',
  ),
  row(
    "E-DOMINATION",
    "a read of a node whose failure leads here",
    system(
      `nodes: [{name: a, agent: free}, {name: b, agent: free, input: "\${{ §nodes.a.output }}"}]\nedges: [{from: a, to: b, outcome: failed}]\n${OUT}`,
    ),
    "has(nodes.a.output)",
  ),
  row(
    "E-DOMINATION",
    "a read of a node that a join may leave behind",
    system(
      `nodes: [{name: a, agent: free}, {name: b, agent: free}, {name: j, agent: free, join: any, input: "\${{ §nodes.b.output }}"}]\nedges: [{from: [a, b], to: j}]\n${OUT}`,
    ),
    "may be skipped",
  ),
  row(
    "E-DOMINATION",
    "an output that reads a node which a join may leave behind",
    system(
      `nodes: [{name: a, agent: free}, {name: b, agent: free}, {name: j, agent: free, join: any}]\nedges: [{from: [a, b], to: j}]\noutput: {value: "\${{ §nodes.b.output }}"}`,
    ),
    "may be skipped",
  ),
  row(
    "E-LOOP",
    "a loop edge that leads forward",
    system(`${TWO}\nedges: [{from: a, to: b, loop: §{max: 3}}]\n${OUT}`),
    "does not lead back",
  ),
  row("E-MISSING", "a loop without a bound", system(`${TWO}\nedges: [{from: b, to: b, loop: §{}}]\n${OUT}`), "max"),
  row(
    "E-VALUE",
    "a loop with a bound beyond reason",
    system(`${TWO}\nedges: [{from: b, to: b, loop: {max: §1001}}]\n${OUT}`),
    "between 1 and 1000",
  ),
  row(
    "E-EXPRESSION",
    "a read of the last iteration that the first has not",
    system(
      `nodes: [{name: a, agent: free, input: "\${{ §iteration.last }}"}]\nedges: [{from: a, to: a, loop: {max: 2}}]\n${OUT}`,
    ),
    "has(iteration.last)",
  ),
  row(
    "E-REFERENCE",
    "an agent that does not exist",
    system(`nodes: [{name: a, agent: §fre}]\n${OUT}`),
    'did you mean "free"?',
  ),
  row(
    "E-EDGE",
    "an edge to an unknown node",
    system(`${TWO}\nedges: [{from: a, to: §bb}]\n${OUT}`),
    'did you mean "b"?',
  ),
  row(
    "E-EDGE",
    "otherwise with when",
    system(`${TWO}\nedges: [{from: a, to: b, when: "true", §otherwise: true}]\n${OUT}`),
    "not both",
  ),
  row(
    "E-EDGE",
    "two otherwise sets in a group",
    system(
      `${TWO}\n  - {name: c, agent: free}\nedges:\n  - {from: a, to: b, otherwise: true}\n  - {from: a, to: c, otherwise: §true}\n${OUT}`,
    ),
    "already has",
  ),
  row(
    "E-CYCLE",
    "a cycle",
    system(
      `nodes: [{name: §a, agent: free}, {name: b, agent: free}]\nedges: [{from: a, to: b}, {from: b, to: a}]\n${OUT}`,
    ),
    "without a bound: a → b → a",
  ),
  row(
    "E-UNREACHABLE",
    "nodes behind no entry",
    system(
      `nodes: [{name: e, agent: free}, {name: a, agent: free}, {name: §b, agent: free}]\nedges: [{from: a, to: b}, {from: b, to: a}]\n${OUT}`,
    ),
    "can never run",
  ),
  row(
    "E-EXPRESSION",
    "a condition that does not parse",
    system(`${TWO}\nedges: [{from: a, to: b, when: 'output.route §== == 1'}]\n${OUT}`),
    "not a CEL expression",
  ),
  row(
    "E-EXPRESSION",
    "a condition in ${{ }}",
    system(`${TWO}\nedges: [{from: a, to: b, when: "§\${{ true }}"}]\n${OUT}`),
    "bare CEL",
  ),
  row(
    "E-CONDITION",
    "a condition that is a string on the sample",
    system(`${TWO}\nedges: [{from: a, to: b, when: §output.route}]\n${OUT}`),
    "not true or false",
  ),
  row(
    "W-OPTIONAL",
    "a condition that reads what is not required",
    system(`${TWO}\nedges: [{from: a, to: b, when: §output.score > 1.0}]\n${OUT}`),
    "not required",
    "warning",
  ),
  row(
    "E-EXPRESSION",
    "a read of an unknown node",
    system(`nodes: [{name: b, agent: free}]\noutput: {value: "\${{ §nodes.c.output }}"}`),
    "no node",
  ),
  row(
    "E-DOMINATION",
    "a read of a node that may be skipped",
    system(
      `${TWO}\n  - {name: c, agent: free}\nedges: [{from: a, to: b, when: "true"}, {from: a, to: c, otherwise: true}]\noutput: {value: "\${{ §nodes.b.output }}"}`,
    ),
    "has(nodes.b.output)",
  ),
  row(
    "E-DOMINATION",
    "a read of a node that runs beside",
    system(`nodes: [{name: a, agent: free}, {name: b, agent: free, input: "\${{ §nodes.a.output }}"}]\n${OUT}`),
    "does not run before",
  ),
  row(
    "E-INPUT",
    "a literal of a wrong type",
    system(`nodes: [{name: a, agent: asker, input: {question: §5}}]\n${OUT}`),
    "string",
  ),
  row(
    "E-INPUT",
    "a field path of a wrong type",
    system(`nodes: [{name: a, agent: asker, input: {question: §"\${{ input.size }}"}}]\n${OUT}`),
    "expected string, found integer",
  ),
  row(
    "E-INPUT",
    "an expression of a wrong type on the sample",
    system(`nodes: [{name: a, agent: asker, input: {question: §"\${{ size(input.text) }}"}}]\n${OUT}`),
    "found integer",
  ),
  row(
    "E-INPUT",
    "a required member that is missing",
    system(`nodes: [{name: a, agent: asker, input: §{count: 1}}]\n${OUT}`),
    "question",
  ),
  row(
    "E-INPUT",
    "a member that the agent does not take",
    system(`nodes: [{name: a, agent: asker, input: {question: "\${{ input.text }}", §extra: 1}}]\n${OUT}`),
    'no "extra"',
  ),
  row(
    "E-INPUT",
    "a system input that does not fit a node without its own",
    system(`nodes: [{name: §a, agent: asker}]\n${OUT}`),
    "give the node an input",
  ),
];
