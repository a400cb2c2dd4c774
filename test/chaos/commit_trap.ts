// Loses the acknowledgement of a COMMIT: it reaches Postgres and is done, and its answer never comes back.
// Set on the proxy before Postgres. The client sends COMMIT as a simple query: message Q, length 11, "commit" and a zero.
// Statements may be under way with it: their answers are swallowed too. After that of COMMIT the connection is reset, as a broken link
// would be.

import { type Link, reset, type TcpProxy } from "./tcp_proxy.ts";

/** How the client says COMMIT. */
export const COMMIT = Buffer.from([0x51, 0, 0, 0, 11, ...Buffer.from("commit"), 0]);

/** How Postgres says that it is over, one way or the other: the tag of CommandComplete. */
const OVER = [Buffer.from("COMMIT\0"), Buffer.from("ROLLBACK\0")];

/** See the file header. */
export class CommitTrap {
  /** Answers lost so far. */
  hits = 0;
  #armed = 0;
  readonly #trapped = new WeakSet<Link>();

  constructor(proxy: TcpProxy) {
    proxy.onUp = (link, chunk) => {
      if (this.#armed === 0 || !chunk.includes(COMMIT)) return;
      this.#armed -= 1;
      this.#trapped.add(link);
    };
    proxy.onDown = (link, chunk) => {
      if (!this.#trapped.has(link)) return true;
      if (!link.dropAnswers && OVER.some((tag) => chunk.includes(tag))) {
        link.dropAnswers = true;
        this.hits += 1;
        reset(link.client);
      }
      return false;
    };
  }

  /** The next COMMITs, so many, lose their answers. */
  arm(count = 1): void {
    this.#armed += count;
  }
}
