#!/usr/bin/env node
// The `orloj` command: picks the server, a worker, a migration, the sandbox or a client verb, and loads only that.
// Called by the shell. Plain syntax and dynamic imports, so that a Node too old to run the rest still reads this file
// and says so. Decides nothing else.

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
switch (major > 22 || (major === 22 && minor >= 18) ? process.argv[2] : "(old)") {
  case "(old)":
    console.error(
      `error[E-NODE-TOO-OLD] orloj needs Node 22.18 or newer, this is ${process.versions.node}. Next: in a clone, npx orloj brings its own; elsewhere install a newer Node`,
    );
    process.exitCode = 2;
    break;
  case "server":
    process.exitCode = await (await import("../cli/server.ts")).server(process.argv.slice(3), process.env);
    break;
  case "worker":
    process.exitCode = await (await import("../cli/worker.ts")).worker(process.argv.slice(3), process.env);
    break;
  case "migrate":
    process.exitCode = await (await import("../cli/migrate.ts")).migrate(process.argv.slice(3), process.env);
    break;
  case "sandbox":
    process.exitCode = await (await import("../cli/sandbox.ts")).sandbox(process.argv.slice(3));
    break;
  default:
    process.exitCode = await (await import("../cli/main.ts")).main(process.argv.slice(2));
}
