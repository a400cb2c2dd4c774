// A process that starts listeners, leaves all kinds of connections open, stops, and must then end by itself.
// Run by lifecycle.test.ts, which reads the one line of JSON.
// Never calls process.exit: a leaked handle shows as a process that stays.

import { once } from "node:events";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { SessionRequestSchema, WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { PROTOCOLS, startRig } from "./rig.ts";

const rig = await startRig({ limits: { drainMs: 50, closeMs: 50 } });
for (const protocol of PROTOCOLS) {
  await createClient(WorkflowService, rig.transport({ protocol })).getRun({ runId: "run_1" });
}
const silent = rig.raw("api", "PR");
const idle = rig.raw("ops", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
await once(idle, "data");
async function* hello() {
  yield create(SessionRequestSchema, { frame: { case: "hello", value: { protocolVersion: 1 } } });
  await new Promise(() => undefined);
}
const worker = createClient(WorkerService, rig.transport({ port: "worker", token: "tok-worker" })).session(hello());
const frames = worker[Symbol.asyncIterator]();
await frames.next();
const watch = createClient(WorkflowService, rig.transport()).watchRun({ runId: "run_1" })[Symbol.asyncIterator]();
await watch.next();

const closed = Promise.all([silent, idle].map((socket) => once(socket, "close")));
const ends = Promise.allSettled([watch.next(), frames.next()]);
await rig.listeners.stop();
const [sockets] = await Promise.all([closed, ends]);
const workersClosed = rig.plane.workers.every((each) => each.closedCalls > 0);
const { watchesOpen } = rig.plane;
await rig.close();

// The clients' own sockets take a turn of the loop to go; what is left at exit is written then.
process.once("beforeExit", () => {
  const left = process.getActiveResourcesInfo().filter((name) => !/Pipe|TTY|File/.test(name));
  process.stdout.write(`${JSON.stringify({ watchesOpen, workersClosed, socketsClosed: sockets.length, left })}\n`);
});
