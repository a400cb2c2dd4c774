// Spreads work over turns of the event loop, a few pieces in each, in the order in which they came.
// Owned by rpc_handler.ts for the calls of HTTP/2: hundreds of requests and their resets fit into one read of a socket. What was reset by the time
// of its turn costs nothing more, and between two turns everybody else is served.

/** Pieces in one turn: some ten milliseconds of calls. */
const TURN_MAX = 16;

/** See the file header. */
export class Turns {
  #waiting: (() => void)[] = [];
  #isSet = false;

  /** Runs a piece in one of the next turns. It must not throw. */
  add(piece: () => void): void {
    this.#waiting.push(piece);
    this.#set();
  }

  #set(): void {
    if (this.#isSet || this.#waiting.length === 0) return;
    this.#isSet = true;
    setImmediate(() => {
      this.#isSet = false;
      for (const piece of this.#waiting.splice(0, TURN_MAX)) piece();
      this.#set();
    });
  }
}
