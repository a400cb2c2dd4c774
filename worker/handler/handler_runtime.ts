// The runtime of agents that are code in this process: which handlers there are, and that each task of theirs is run.
// Made by worker.ts from the handlers that a program registers; the session offers their names to the server, which sends no other task.
// What is registered is checked once, at the start.

import { DomainError } from "../../kit/errors.ts";
import type { Runtime } from "../agent/runtimes.ts";
import type { Handlers } from "./context.ts";
import { type HandlerDependencies, runHandler } from "./run_handler.ts";

/** Handlers of one worker at most. */
export const HANDLERS_MAX = 1_000;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** The runtime of these handlers. */
export function handlerRuntime(dependencies: HandlerDependencies): Runtime {
  const { handlers } = dependencies;
  return {
    supports: ({ handler }) => handler !== undefined && Object.hasOwn(handlers, handler),
    run: (task, port, signal) => runHandler(task, port, signal, dependencies),
  };
}

/**
 * The names of handlers, checked.
 *
 * @throws DomainError CONFIG_INVALID that names the one that cannot be registered.
 */
export function handlerNames(handlers: Handlers): string[] {
  const names = Object.keys(handlers);
  if (names.length > HANDLERS_MAX) throw invalid(`a worker has ${HANDLERS_MAX} handlers at most, not ${names.length}`);
  for (const name of names) {
    if (!NAME.test(name)) {
      throw invalid(
        `"${name}" is no name of a handler: 1 to 63 lower-case letters, digits, and -, as handler.name of an agent`,
      );
    }
    if (typeof handlers[name] !== "function") throw invalid(`the handler "${name}" is not a function`);
  }
  return names;
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}
