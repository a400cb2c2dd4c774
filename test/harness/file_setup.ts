// Runs before each test file (vitest setupFiles): after the file's last test, everything the harness made for it is removed.
// Registered first, so it runs after the file's own afterAll.

import { afterAll } from "vitest";
import { runCleanup } from "./cleanup.ts";

afterAll(runCleanup);
