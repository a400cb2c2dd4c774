// grpc.health.v1 for the services of one listener: serving follows readiness.
// Wired by listeners.ts on the API and worker listeners; needs no credentials. Follows proto/vendor/grpc/health.
// Never reveals more than the names of the services that the listener serves.

import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import { type Health, HealthCheckResponse_ServingStatus as Status } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import type { Readiness } from "./readiness.ts";

const WATCH_INTERVAL_MS = 1 * SECOND;

/** Health of a listener and of each of its services, which share one state. */
export function healthService(
  services: readonly DescService[],
  readiness: Readiness,
  clock: Clock,
): ServiceImpl<typeof Health> {
  const names = ["", ...services.map((service) => service.typeName)];
  const status = async () => ((await readiness.ready()) ? Status.SERVING : Status.NOT_SERVING);
  return {
    async check({ service }) {
      if (!names.includes(service))
        throw new ConnectError("no such service here: ask with an empty name", Code.NotFound);
      return { status: await status() };
    },
    async *watch({ service }, { signal }) {
      let last: Status | undefined;
      for (;;) {
        const now = names.includes(service) ? await status() : Status.SERVICE_UNKNOWN;
        if (now !== last) yield { status: now };
        last = now;
        const { draining } = readiness;
        await clock.sleep(WATCH_INTERVAL_MS, draining.aborted ? signal : AbortSignal.any([signal, draining]));
        signal.throwIfAborted();
      }
    },
    async list() {
      const now = await status();
      return { statuses: Object.fromEntries(names.map((name) => [name, { status: now }])) };
    },
  };
}
