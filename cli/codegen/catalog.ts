// Writes the file that `orloj codegen` makes: the types of workflows, and the catalog `Workflows` that createClient takes.
// Called by the verb codegen.ts. Pure: equal workflows give equal text, in whatever order they come; nothing of a machine or a time is in it.

import { type Json, type JsonObject, jsonDigest } from "../../kit/json.ts";
import { camel, Names } from "./names.ts";
import { type Declaration, schemaTypes } from "./schema_types.ts";
import { linesOf } from "./schema_words.ts";
import { allOf, docComment, type MemberText, NEVER, objectOf, plain, UNKNOWN } from "./type_text.ts";

/** What a workflow says to its callers. */
export interface WorkflowSource {
  readonly namespace: string;
  readonly name: string;
  readonly description: string;
  readonly parameters: JsonObject;
  /** Tags that callers may give, and whether they must. */
  readonly tags: Readonly<Record<string, { readonly required: boolean }>>;
  /** Schemas that every output fits: the system's and the template's, those that there are. */
  readonly outputs: readonly JsonObject[];
}

/** A generated file. */
export interface GeneratedTypes {
  readonly text: string;
  /** Of the workflows that it was made of. */
  readonly digest: string;
}

const CATALOG = "Workflows";
const DEFAULT_NAMESPACE = "default";

/** See the file header. */
export function generateTypes(workflows: readonly WorkflowSource[]): GeneratedTypes {
  const sorted = [...workflows].sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
  const digest = jsonDigest(sorted as unknown as Json);
  const names = new Names([CATALOG]);
  const typed = sorted.map((workflow) => ({ workflow, types: typesOf(workflow, names) }));
  const namespaces = [...Map.groupBy(typed, ({ workflow }) => workflow.namespace)].map(
    ([name, members]): MemberText => ({
      ...{ name, optional: false, doc: [] },
      type: objectOf(
        members.map(({ workflow, types }) => ({
          ...{ name: workflow.name, optional: false, doc: linesOf({ description: workflow.description }) },
          type: plain(`{ parameters: ${types.parameters}; tags: ${types.tags}; output: ${types.output} }`),
        })),
        undefined,
      ),
    }),
  );
  const catalog: Declaration = {
    name: CATALOG,
    type: objectOf(namespaces, namespaces.length === 0 ? NEVER : undefined),
    doc: ["Workflows by namespace and name, for `createClient<Workflows>()` of @orloj/sdk."],
  };
  const declarations = [catalog, ...typed.flatMap(({ types }) => types.declarations)];
  return { text: [header(digest), ...declarations.map(declarationText)].join("\n"), digest };
}

function header(digest: string): string {
  return `// Types of Orloj workflows. Written by \`orloj codegen\`: do not edit, run it again.
// Source: ${digest}
/* eslint-disable */
`;
}

function declarationText({ name, type, doc }: Declaration): string {
  return `${docComment(doc)}export type ${name} = ${type.text};\n`;
}

interface WorkflowTypeNames {
  readonly parameters: string;
  readonly tags: string;
  readonly output: string;
  readonly declarations: readonly Declaration[];
}

function typesOf(workflow: WorkflowSource, names: Names): WorkflowTypeNames {
  const { namespace, name } = workflow;
  const base = `${namespace === DEFAULT_NAMESPACE ? "" : camel(namespace)}${camel(name)}`;
  const [parameters, tags, output] = ["Parameters", "Tags", "Output"].map((part) => names.take(`${base}${part}`)) as [
    string,
    string,
    string,
  ];
  const declarations = [
    ...schemaTypes(workflow.parameters, parameters, "given", names),
    tagTypes(workflow.tags, tags),
    ...outputTypes(workflow.outputs, output, names),
  ];
  return { parameters, tags, output, declarations };
}

function tagTypes(tags: WorkflowSource["tags"], name: string): Declaration {
  const members = Object.keys(tags)
    .sort()
    .map((tag) => ({ name: tag, optional: tags[tag]?.required !== true, type: plain("string"), doc: [] }));
  return { name, type: objectOf(members, members.length === 0 ? NEVER : undefined), doc: [] };
}

function outputTypes(schemas: readonly JsonObject[], name: string, names: Names): Declaration[] {
  const different = [...new Map(schemas.map((schema) => [jsonDigest(schema), schema])).values()];
  const more = different.filter((schema) => !isBareObject(schema));
  const telling = more.length > 0 ? more : different.slice(0, 1);
  const [first] = telling;
  if (first === undefined) return [{ name, type: UNKNOWN, doc: [] }];
  if (telling.length === 1) return schemaTypes(first, name, "received", names);
  const parts = telling.map((schema) => schemaTypes(schema, names.take(`${name}Part`), "received", names));
  const type = allOf(parts.map(([own]) => plain((own as Declaration).name)));
  return [{ name, type, doc: [] }, ...parts.flat()];
}

// "It is an object" beside a schema that says more would only let every member be read.
function isBareObject({ type, title: _title, description: _description, ...rest }: JsonObject): boolean {
  return type === "object" && Object.keys(rest).length === 0;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
