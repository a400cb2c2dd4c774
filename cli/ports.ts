// Which of the ports that a local server takes are in use.
// Called by doctor.ts when no server answers. Connects to this machine only, and sends nothing.

import { connect } from "node:net";
import { SECOND } from "../kit/units.ts";

const LOCAL_PORTS = [7601, 7602, 7603];
const ANSWER_MS = SECOND;

/** True for an endpoint on loopback. */
export function isThisMachine(endpoint: string): boolean {
  return /^(127\.|localhost$|\[::1\]$)/.test(new URL(endpoint).hostname);
}

/** Of the default ports and that of a local endpoint, those on which something listens; [] for another machine. */
export async function openPorts(endpoint: string): Promise<number[]> {
  if (!isThisMachine(endpoint)) return [];
  const ports = [...new Set([Number(new URL(endpoint).port), ...LOCAL_PORTS])].filter((one) => one > 0);
  const open = await Promise.all(ports.map(isOpen));
  return ports.filter((_, index) => open[index]);
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: ANSWER_MS });
    const done = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", () => done(true));
    socket.once("timeout", () => done(false));
    socket.once("error", () => done(false));
  });
}
