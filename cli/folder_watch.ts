// Tells when something in a folder changed, once things are quiet: editors write a file in several steps, and tools many files at a time.
// Called by dev.ts. What changed is for the caller to look at. Each folder below has a watch of its own, but hidden ones and node_modules:
// a database among them would be watched file by file.
// Where the system cannot watch (some network and container mounts), the caller looks once a second.

import { type FSWatcher, readdirSync, watch } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";

/** Quiet that a change waits for, in ms. */
const QUIET_MS = SECOND / 4;
const LOOK_MS = SECOND;

/** See the file header. */
export class FolderWatch {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #watchers = new Map<string, FSWatcher>();
  #cancel = () => {};

  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** Begins. */
  start(folder: string): void {
    try {
      this.#follow(folder);
    } catch {
      this.stop();
      this.#look();
    }
  }

  /** Ends; nothing is told after that. */
  stop(): void {
    this.#cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  // Folders that came are followed from now on, those that are gone are not.
  #follow(root: string): void {
    const folders = new Set(foldersUnder(root));
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      const watcher = watch(folder, (_event, name) => {
        if (name === null || !isPassedOver(name)) this.#wait(root);
      });
      watcher.on("error", () => this.#wait(root));
      this.#watchers.set(folder, watcher);
    }
  }

  #wait(root: string): void {
    this.#cancel();
    this.#cancel = this.#clock.after(QUIET_MS, () => {
      this.start(root);
      this.#onChange();
    });
  }

  #look(): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => {
      this.#look();
      this.#onChange();
    });
  }
}

function foldersUnder(folder: string): string[] {
  const inner = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !isPassedOver(entry.name))
    .flatMap((entry) => foldersUnder(join(folder, entry.name)));
  return [folder, ...inner];
}

function isPassedOver(name: string): boolean {
  return name.startsWith(".") || name === "node_modules";
}
