// The release that this code belongs to, as its package.json says: what server and worker tell each other and their operators.
// Leaf: a constant, so that no program has to find its package at run time. test/packages holds it to package.json.

/** Such as 0.1.0. */
export const RELEASE = "0.1.0";
