// Server reflection (grpc.reflection v1 and v1alpha) over the generated descriptors, for buf curl, grpcurl and the like.
// Wired by listeners.ts on the API listener. Follows proto/vendor/grpc/reflection.
// Never shows a service that its listener does not serve.

import { type DescFile, type DescMessage, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import type { Rate } from "../../kit/token_bucket.ts";
import { ServerReflection, type ServerReflectionRequest } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as ServerReflectionRequestAlpha,
} from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { paced } from "./paced.ts";
import { untilAborted } from "./until_aborted.ts";

type Question = ServerReflectionRequest["messageRequest"] | ServerReflectionRequestAlpha["messageRequest"];

/** Calls at a time, of everybody: answers are long, and who does not read them keeps them here. */
const CALLS_MAX = 50;

/**
 * Adds both reflection services, showing the given services and themselves. One call too many ends with TOO_MANY.
 *
 * @param pace at which a caller may ask
 */
export function addReflection(
  router: ConnectRouter,
  services: readonly DescService[],
  pace: { readonly clock: Clock; readonly rate: Rate },
): void {
  const answer = createAnswers([...services, ServerReflection, ServerReflectionAlpha]);
  let open = 0;
  async function* answers<Request extends ServerReflectionRequest | ServerReflectionRequestAlpha>(
    requests: AsyncIterable<Request>,
    signal: AbortSignal,
  ) {
    if (open >= CALLS_MAX) {
      throw new DomainError("TOO_MANY", `reflection serves ${CALLS_MAX} calls at a time: try again in a moment`);
    }
    open += 1;
    try {
      for await (const request of untilAborted(paced(requests, pace.clock, pace.rate), signal)) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request.messageRequest) };
      }
    } finally {
      open -= 1;
    }
  }
  router.service(ServerReflection, { serverReflectionInfo: (requests, { signal }) => answers(requests, signal) });
  router.service(ServerReflectionAlpha, { serverReflectionInfo: (requests, { signal }) => answers(requests, signal) });
}

function createAnswers(services: readonly DescService[]) {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  const written = new Map<DescFile, Uint8Array>();
  for (const service of services) index(service.file, files, symbols);
  const notFound = (what: string) => ({
    case: "errorResponse" as const,
    value: { errorCode: Code.NotFound, errorMessage: `${what} is not known here: list the services first` },
  });
  const describe = (file: DescFile | undefined, what: string) => {
    if (file === undefined) return notFound(what);
    // Written once: a caller may ask for the same file a thousand times.
    const bytes = written.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto);
    written.set(file, bytes);
    return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto: [bytes] } };
  };
  return (question: Question) => {
    switch (question.case) {
      case "listServices": {
        const service = services.map(({ typeName }) => ({ name: typeName })).sort((a, b) => (a.name < b.name ? -1 : 1));
        return { case: "listServicesResponse" as const, value: { service } };
      }
      case "fileByFilename":
        return describe(files.get(question.value), `file ${question.value}`);
      case "fileContainingSymbol":
        return describe(symbols.get(question.value), `symbol ${question.value}`);
      case "allExtensionNumbersOfType":
        return notFound(`an extension of ${question.value}`);
      case "fileContainingExtension":
        return notFound(`extension ${question.value.extensionNumber} of ${question.value.containingType}`);
      default:
        return notFound("an empty question");
    }
  };
}

function index(file: DescFile, files: Map<string, DescFile>, symbols: Map<string, DescFile>): void {
  if (files.has(file.proto.name)) return;
  files.set(file.proto.name, file);
  const message = (desc: DescMessage): void => {
    symbols.set(desc.typeName, file);
    for (const nested of desc.nestedEnums) symbols.set(nested.typeName, file);
    for (const nested of desc.nestedMessages) message(nested);
  };
  for (const desc of file.messages) message(desc);
  for (const desc of file.enums) symbols.set(desc.typeName, file);
  for (const desc of file.services) {
    symbols.set(desc.typeName, file);
    for (const method of desc.methods) symbols.set(`${desc.typeName}.${method.name}`, file);
  }
  for (const dependency of file.dependencies) index(dependency, files, symbols);
}
