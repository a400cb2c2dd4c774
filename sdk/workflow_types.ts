// What the compiler may know of workflows: their parameters, tags and outputs, by namespace and name.
// Used by client.ts; `orloj codegen` writes a catalog of this form. Types alone: nothing of it exists when it runs.
// Without a catalog every name is taken, any JSON object goes in, and unknown comes out.

/** Types of one workflow. */
export interface WorkflowTypes {
  /** What invoke takes. */
  readonly parameters: object;
  /** The tags that the template declares `from: request`: only these may be given. */
  readonly tags: object;
  /** What a run gives when it SUCCEEDED. */
  readonly output: unknown;
}

/** A workflow of which nothing is known. */
export interface AnyWorkflow {
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly tags: Readonly<Record<string, string>>;
  readonly output: unknown;
}

/** Workflows by namespace and name. */
export type WorkflowCatalog = Readonly<Record<string, Readonly<Record<string, WorkflowTypes>>>>;

/** Every namespace, every name: the catalog of a client that was made without one. */
export type AnyWorkflows = Readonly<Record<string, Readonly<Record<string, AnyWorkflow>>>>;

/** Namespaces of a catalog. */
export type NamespaceOf<Catalog extends WorkflowCatalog> = keyof Catalog & string;

/** Names of the workflows in a namespace; none when the catalog does not have the namespace. */
export type WorkflowNameOf<Catalog extends WorkflowCatalog, Namespace extends NamespaceOf<Catalog>> = [
  Namespace,
] extends [never]
  ? never
  : keyof Catalog[Namespace] & string;

/** True if no member must be given. */
type Optional<Members extends object> = Record<never, never> extends Members ? true : false;

/** The option `tags`, which must be there when one of them must. */
export type TagOption<Tags extends object> =
  Optional<Tags> extends true
    ? {
        /** Values for tags that the template declares `from: request`. */
        readonly tags?: Tags;
      }
    : {
        /** Values for tags that the template declares `from: request`. */
        readonly tags: Tags;
      };

/** Arguments of invoke: what may be left out is optional. */
export type InvokeArguments<Parameters extends object, Tags extends object, Options extends object> =
  Optional<Tags> extends true
    ? Optional<Parameters> extends true
      ? [params?: Parameters, options?: Options]
      : [params: Parameters, options?: Options]
    : Optional<Parameters> extends true
      ? [params: Parameters | undefined, options: Options]
      : [params: Parameters, options: Options];
