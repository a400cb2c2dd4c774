// Time that two processes of one machine can compare: the monotonic clock of the system, which Linux and macOS share between processes.
// Read by the worker program when an agent begins and ends, and by the driver around an invocation. Not the wall clock, which may jump.

/** Milliseconds of the system's monotonic clock, to the microsecond. */
export function machineMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
