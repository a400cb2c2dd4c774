// Lets a program that imports the published library run on the sources of this tree: node --import this file, then the program.
// Used for the worker programs of examples/, which are written as their users have them.

import { registerHooks } from "node:module";

const LIBRARY = new URL("../../worker/index.ts", import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "orloj/worker" ? { url: LIBRARY, shortCircuit: true } : next(specifier, context),
});
