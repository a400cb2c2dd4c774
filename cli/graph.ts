// The verb `orloj graph`: draws a system or a run in the terminal, or as Mermaid, DOT or SVG.
// Called by main.ts. The drawing goes to standard output, or to the file of --out, whose ending then says the format.
// A drawing that does not fit the terminal leaves out the labels of its edges, and then becomes a list of its nodes.

import { writeFileSync } from "node:fs";
import { extname } from "node:path";
import type { Command } from "commander";
import type { Json } from "../kit/json.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { dotOf } from "./graph_dot.ts";
import { drawGraph, drawnNode, listNodes, type Room } from "./graph_drawing.ts";
import { mermaidOf } from "./graph_mermaid.ts";
import { edgeLabel, edgeLine, type Graph, type GraphEdge, type GraphNode, nodeDetail } from "./graph_model.ts";
import { loadGraph } from "./graph_source.ts";
import { svgOf } from "./graph_svg.ts";
import { jsonText } from "./json_output.ts";
import { collect } from "./options.ts";
import { columnsOf, cutTo, safeLine } from "./sanitize.ts";
import { lookOf, type Paint, palette } from "./style.ts";

interface Options {
  readonly filename?: string[];
  readonly namespace?: string;
  readonly out?: string;
}

type Format = "terminal" | "mermaid" | "dot" | "svg" | "json";

const FORMAT_OF_ENDING: Readonly<Record<string, Format>> = {
  ".svg": "svg",
  ".dot": "dot",
  ".gv": "dot",
  ".mmd": "mermaid",
  ".mermaid": "mermaid",
  ".json": "json",
};
const LABEL_COLUMNS_MAX = 40;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("graph")
    .description("Draw a system, or a run as it is now: in the terminal, or as Mermaid, DOT, SVG or JSON.")
    .argument("[name]", "system, workflow or run id; or system/NAME, workflow/NAME, run/ID")
    .option("-f, --filename <path>", "draw from files instead: file, folder (recursive) or -; repeatable", collect)
    .option("-n, --namespace <name>", "namespace (default: default, then any that has the name)")
    .option("--out <file>", "write to a file; its ending (.svg, .dot, .mmd, .json) says the format unless -o does")
    .action((subject: string | undefined, options: Options) => draw(context, subject, options));
}

async function draw(context: Context, subject: string | undefined, { filename, namespace, out }: Options) {
  const ending = out === undefined ? undefined : FORMAT_OF_ENDING[extname(out).toLowerCase()];
  const format = (context.format as Format | undefined) ?? ending ?? "terminal";
  const graph = await loadGraph(context, {
    ...(subject !== undefined && { subject }),
    ...(namespace !== undefined && { namespace }),
    paths: filename ?? [],
  });
  // What is no terminal has room.
  const columns = out === undefined ? (context.host.terminal()?.columns ?? Infinity) : Infinity;
  const paint = out === undefined ? context.paint : palette(false);
  const text = `${textOf(graph, format, { columns, rows: Infinity }, paint).join("\n")}\n`;
  if (out === undefined) {
    context.host.out(text);
    return;
  }
  try {
    writeFileSync(out, text);
  } catch (error) {
    throw new UsageError(`${out} cannot be written: ${(error as Error).message}`, "name another file with --out");
  }
  context.note(`${safeLine(graph.title)} is drawn in ${safeLine(out)} (${format}).`);
}

function textOf(graph: Graph, format: Format, room: Room, paint: Paint): string[] {
  switch (format) {
    case "mermaid":
      return mermaidOf(graph);
    case "dot":
      return dotOf(graph);
    case "svg":
      return svgOf(graph);
    case "json":
      return [jsonText(graph as unknown as Json)];
    case "terminal":
      return drawText(graph, room, paint);
  }
}

/** A graph as lines of text, with the edges below that the drawing does not show in full. */
export function drawText(graph: Graph, room: Room, paint: Paint): string[] {
  const nodes = graph.nodes.map((node) => drawnNode(node, wordsOf(node)));
  const plain = graph.edges.map((edge) => ({ from: edge.from, to: edge.to, isBack: edge.loop !== undefined }));
  const labelled = graph.edges.map((edge, index) => {
    const label = cutTo(safeLine(edgeLabel(edge)), LABEL_COLUMNS_MAX);
    return { from: edge.from, to: edge.to, isBack: plain[index]?.isBack ?? false, ...(label !== "" && { label }) };
  });
  const full = drawGraph(nodes, labelled, room, paint);
  const drawing = full ?? drawGraph(nodes, plain, room, paint) ?? listNodes(nodes, plain, { ...room, paint });
  const untold = graph.edges
    .filter((edge) => isUntold(edge, full !== undefined))
    .map((edge) => safeLine(edgeLine(edge)));
  return [
    headOf(graph, paint),
    "",
    ...drawing,
    ...(untold.length === 0 ? [] : ["", paint("bold", "Edges"), ...untold]),
  ];
}

function headOf({ title, state, nodes, edges }: Graph, paint: Paint): string {
  const look = state === undefined ? undefined : lookOf(state);
  const now = look === undefined ? "" : `  ${paint(look.tone, `${look.sign} ${state}`)}`;
  return `${paint("bold", safeLine(title))}${now}  ${paint("dim", `${nodes.length} nodes, ${edges.length} edges`)}`;
}

function wordsOf(node: GraphNode): string {
  return [...(node.state === undefined ? [] : [node.state.toLowerCase()]), ...nodeDetail(node)].join("  ");
}

function isUntold(edge: GraphEdge, areLabelsShown: boolean): boolean {
  const label = edgeLabel(edge);
  return label !== "" && (edge.loop !== undefined || !areLabelsShown || columnsOf(safeLine(label)) > LABEL_COLUMNS_MAX);
}
