// What a test file must give back: callbacks that run after its last test, newest first.
// Used by the other files of this folder; file_setup.ts runs the callbacks, so tests need no afterAll of their own for them.
// Every callback runs even if an earlier one fails; the first failure then fails the file.

type Undo = () => Promise<unknown> | unknown;

const undos: Undo[] = [];

/** Registers a callback for the end of this test file. */
export function atEndOfFile(undo: Undo): void {
  undos.push(undo);
}

/** Runs and forgets the callbacks. */
export async function runCleanup(): Promise<void> {
  const failures: unknown[] = [];
  for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
    try {
      await undo();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
