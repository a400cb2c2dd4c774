// ManifestService: checks the fields of each request, calls one use case, maps its result.
// Called by Connect; wired by listeners.ts.
// Never parses a manifest.

import type { ServiceImpl } from "@connectrpc/connect";
import { MIB } from "../../kit/units.ts";
import type {
  ApplyRequest,
  ManifestService,
  PlanApplyRequest,
  ValidateRequest,
} from "../../proto/gen/orloj/v1/manifest_pb.ts";
import type { ApplyInput } from "../commands/control_plane.ts";
import { LABEL, LABEL_RULE } from "../manifests/fields.ts";
import { planeOf, principalOf } from "./call_context.ts";
import {
  bytesWithin,
  invalidField,
  itemCount,
  kindOf,
  namespaceOrDefault,
  pageOf,
  requiredText,
  textMap,
} from "./request_checks.ts";
import { applyResultToWire, plannedChangeToWire, resourceToWire } from "./to_wire.ts";

const FILES_MAX = 1_000;
const FILE_NAME_CHARS_MAX = 1_024;
const FILE_BYTES_MAX = 1 * MIB;
const PAGE_SIZE_MAX = 500;

/** The service over the use cases. */
export function manifestService(): ServiceImpl<typeof ManifestService> {
  return {
    async apply(request, context) {
      const expected = request.expectedGeneration;
      if (expected !== undefined && expected < 0n) {
        throw invalidField(
          "expected_generation",
          "is negative: give a generation, or 0 for a manifest that must be new",
        );
      }
      const input = {
        ...setInput(request, applyInput(request)),
        ...(expected !== undefined && { expectedGeneration: Number(expected) }),
      };
      const { results, diagnostics } = await planeOf(context).apply(principalOf(context), input);
      return { results: results.map(applyResultToWire), diagnostics };
    },
    async planApply(request, context) {
      const input = setInput(request, applyInput(request));
      const { valid, changes, diagnostics } = await planeOf(context).planApply(principalOf(context), input);
      return { valid, changes: changes.map(plannedChangeToWire), diagnostics };
    },
    async validate(request, context) {
      return planeOf(context).validate(principalOf(context), applyInput(request));
    },
    async getResource(request, context) {
      const kind = kindOf("kind", request.kind);
      const namespace = namespaceOrDefault("namespace", request.namespace);
      const resource = await planeOf(context).getResource(kind, namespace, requiredText("name", request.name));
      return { resource: resourceToWire(resource) };
    },
    async listResources(request, context) {
      const filter = {
        full: request.full,
        ...(request.kind !== "" && { kind: kindOf("kind", request.kind) }),
        ...(request.namespace !== "" && { namespace: requiredText("namespace", request.namespace) }),
        ...(Object.keys(request.labels).length > 0 && { labels: textMap("labels", request.labels) }),
      };
      const page = await planeOf(context).listResources(filter, pageOf(request, PAGE_SIZE_MAX));
      return { resources: page.items.map(resourceToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async deleteResource(request, context) {
      const kind = kindOf("kind", request.kind);
      const namespace = namespaceOrDefault("namespace", request.namespace);
      const name = requiredText("name", request.name);
      await planeOf(context).deleteResource(principalOf(context), kind, namespace, name, request.force);
      return {};
    },
  };
}

// Becomes part of what is stored, so it obeys the rule of manifests; elsewhere a wrong name simply finds nothing.
function defaultNamespace(value: string): string {
  const namespace = namespaceOrDefault("default_namespace", value);
  if (!LABEL.test(namespace)) throw invalidField("default_namespace", `is not a name: use ${LABEL_RULE}`);
  return namespace;
}

function setInput(request: ApplyRequest | PlanApplyRequest, input: ApplyInput): ApplyInput {
  const { set, prune, adopt } = request;
  if (set === "" && (prune || adopt)) {
    throw invalidField("set", `is empty, and ${prune ? "prune" : "adopt"} is about the resources of a set: name it`);
  }
  if (set !== "" && !LABEL.test(set)) throw invalidField("set", `is not a name: use ${LABEL_RULE}`);
  return set === "" ? input : { ...input, set, prune, adopt };
}

function applyInput(request: ApplyRequest | PlanApplyRequest | ValidateRequest): ApplyInput {
  itemCount("files", request.files.length, 1, FILES_MAX);
  return {
    files: request.files.map((file, index) => ({
      name: requiredText(`files[${index}].name`, file.name, FILE_NAME_CHARS_MAX),
      // Only the size: odd characters are findings with a position, and the manifest gate makes those.
      content: bytesWithin(`files[${index}].content`, file.content, FILE_BYTES_MAX),
    })),
    defaultNamespace: defaultNamespace(request.defaultNamespace),
    strict: request.strict,
  };
}
