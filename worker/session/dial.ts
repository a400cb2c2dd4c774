// How the connection of one stream is made: a name to its addresses, TCP, the tunnel of a proxy, then whatever the credentials do (TLS).
// Used by stream.ts. grpc-js does it in its own order: a resolver of ours hands it addresses, credentials of ours stand around the given
// ones. So every step is bounded, what fails is said in our words, and what was begun ends with the stream; grpc-js leaves connections
// that never were answered, looks up service configurations in DNS, and does not shuffle two addresses.
// Addresses are tried a quarter of a second apart (Happy Eyeballs of grpc-js) in an order by chance; the first that answers is taken.

import { lookup } from "node:dns/promises";
import { setMaxListeners } from "node:events";
import { isIP, type Socket } from "node:net";
import { type CallCredentials, ChannelCredentials, type ChannelOptions, experimental, status } from "@grpc/grpc-js";
import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import type { Random } from "../../kit/random.ts";
import { SECOND } from "../../kit/units.ts";
import { shuffled } from "./endpoints.ts";
import { type HttpProxy, isDirect, type ProxyOptions, parseProxy, splitEndpoint } from "./proxy.ts";
import { openTunnel } from "./tunnel.ts";

/** Times of a connection, in ms. */
export interface ConnectionTimes {
  /** Until a TCP connection stands, names included. Short: a link that heals is used at the next try. */
  readonly connectMs: number;
  /** Until the server takes the worker in, from the beginning. */
  readonly welcomeMs: number;
  /** Between pings, and until one is answered: a silent server is left after both. */
  readonly pingMs: number;
  readonly pingAnswerMs: number;
  /** How long the server may leave what was sent unread. */
  readonly unreadMs: number;
  /** How long a connection that ended may take to say its last word. */
  readonly closeMs: number;
}

/** Times unless a test says otherwise. */
export const CONNECTION_TIMES: ConnectionTimes = Object.freeze({
  connectMs: 2.5 * SECOND,
  welcomeMs: 10 * SECOND,
  pingMs: 10 * SECOND,
  pingAnswerMs: 5 * SECOND,
  unreadMs: 15 * SECOND,
  closeMs: 1 * SECOND,
});

/** Resolves a name to its addresses. */
export type LookUp = (host: string) => Promise<readonly string[]>;

/** What dialling needs. */
export interface DialerOptions extends ProxyOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly times: ConnectionTimes;
  /** The system's resolver by default. */
  readonly lookUp?: LookUp;
}

/** What grpc-js is to be told for one connection, and how that connection is doing. */
export interface Dial {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
  /** Why there is no connection, in our words; undefined: grpc-js knows, or there is one. */
  readonly failure: string | undefined;
  /** A connection stood, with what the credentials do. */
  readonly secured: boolean;
  /** What has to come next, for messages. */
  readonly awaited: string;
  /** Ends what is under way; a connection that stands may say its last word. */
  release(): void;
}

const SCHEME = "orloj";
const DIAL = "orloj.dial";

/** Dials for one worker; remembers the addresses of names for when they cannot be looked up. */
export class Dialer {
  readonly options: DialerOptions;
  readonly #proxy: HttpProxy | undefined;
  readonly #known = new Map<string, readonly string[]>();
  readonly #underWay = new Map<string, Promise<readonly string[]>>();

  /** @throws DomainError CONFIG_INVALID for an address of a proxy that is none. */
  constructor(options: DialerOptions) {
    this.options = options;
    this.#proxy = options.proxy === undefined ? undefined : parseProxy(options.proxy, "the option proxy");
  }

  /** The proxy of this worker. */
  get proxy(): HttpProxy | undefined {
    return this.#proxy;
  }

  /** What must not be logged: user and password of the proxy, as they are and as they travel. */
  get secrets(): readonly string[] {
    const authorization = this.#proxy?.authorization?.replace(/^Basic /, "");
    if (authorization === undefined) return [];
    const text = Buffer.from(authorization, "base64").toString();
    return [authorization, text.slice(text.indexOf(":") + 1)].filter((secret) => secret !== "");
  }

  /** A connection to the endpoint (host:port), with what the credentials do once it stands. */
  dial(endpoint: string, credentials: ChannelCredentials): Dial {
    const { host, port } = splitEndpoint(endpoint);
    const { proxyExcept = [] } = this.options;
    const proxy = this.#proxy !== undefined && !isDirect(host, port, proxyExcept) ? this.#proxy : undefined;
    return new Connecting(this, endpoint, proxy ?? { host, port }, proxy, credentials);
  }

  /** Addresses of a name, in an order by chance; those of before when it cannot be looked up, or not soon. */
  async addresses(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const { clock, times, random } = this.options;
    const known = this.#known.get(host);
    const looking = this.#lookUp(host);
    if (known === undefined) return shuffled(await looking, random);
    const soon = new AbortController();
    const late = clock.sleep(times.connectMs / 2, soon.signal).then(() => known);
    const found = await Promise.race([looking.catch(() => known), late]);
    soon.abort();
    return shuffled(found, random);
  }

  // One at a time: a resolver that hangs is not asked again and again.
  #lookUp(host: string): Promise<readonly string[]> {
    const { lookUp = lookUpWithSystem } = this.options;
    const looking =
      this.#underWay.get(host) ??
      lookUp(host)
        .then((found) => {
          this.#known.set(host, found);
          return found;
        })
        .catch((error: unknown) => {
          throw new Error(`the name ${host} cannot be looked up: ${messageOf(error)}`);
        })
        .finally(() => this.#underWay.delete(host));
    this.#underWay.set(host, looking);
    // Whoever asked may be gone by then.
    looking.catch(() => {});
    return looking;
  }
}

class Connecting implements Dial {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly #dialer: Dialer;
  readonly #peer: { readonly host: string; readonly port: number };
  readonly #ended = new AbortController();
  #failure: string | undefined;
  #connected = false;
  #secured = false;
  #awaited: string;

  constructor(
    dialer: Dialer,
    endpoint: string,
    peer: { readonly host: string; readonly port: number },
    proxy: HttpProxy | undefined,
    credentials: ChannelCredentials,
  ) {
    this.#dialer = dialer;
    this.#peer = peer;
    this.target = `${SCHEME}:${endpoint}`;
    this.#awaited = `a connection to ${proxy === undefined ? endpoint : `the proxy ${proxy.name}`}`;
    this.credentials = new DialledCredentials(credentials, endpoint, {
      before: async (socket) => {
        // grpc-js and TLS listen for errors while they use it; a connection that is ended afterwards must not end the process.
        socket.on("error", () => {});
        this.#reached();
        if (proxy === undefined) return;
        this.#awaited = `the answer of the proxy ${proxy.name} for ${endpoint}`;
        await openTunnel(socket, endpoint, proxy).catch((error: unknown) => {
          this.#failure = messageOf(error);
          throw error;
        });
      },
      secured: () => {
        this.#secured = true;
        this.#awaited = `the answer of ${endpoint}`;
      },
    });
    // As many as addresses may listen.
    setMaxListeners(0, this.#ended.signal);
    const { clock, times } = dialer.options;
    const cancel = clock.after(times.connectMs, () => {
      this.#fail(`no connection to ${proxy?.name ?? endpoint} within ${times.connectMs / SECOND} s`);
    });
    this.#ended.signal.addEventListener("abort", cancel, { once: true });
  }

  get options(): ChannelOptions {
    return { [DIAL]: this, "grpc.enable_http_proxy": 0 };
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  get secured(): boolean {
    return this.#secured;
  }

  get awaited(): string {
    return this.#awaited;
  }

  release(): void {
    const { clock, times } = this.#dialer.options;
    if (this.#connected) clock.after(times.closeMs, () => this.#ended.abort());
    else this.#ended.abort();
  }

  /** Addresses for grpc-js; each connection that it makes ends with this dial. */
  async addresses(): Promise<experimental.SubchannelAddress[]> {
    const { host, port } = this.#peer;
    const ended = Promise.withResolvers<never>();
    ended.promise.catch(() => {});
    this.#ended.signal.addEventListener("abort", () => ended.reject(new Error("ended")), { once: true });
    const found = await Promise.race([this.#dialer.addresses(host), ended.promise]);
    const { signal } = this.#ended;
    // They are handed to net.connect as they are.
    return found.map((address) => Object.assign({ host: address, port }, { signal }));
  }

  #reached(): void {
    this.#connected = true;
    this.#failure = undefined;
  }

  #fail(why: string): void {
    if (this.#connected) return;
    this.#failure = why;
    this.#ended.abort();
  }
}

/** What is done around the given credentials. */
interface Steps {
  before(socket: Socket): Promise<void>;
  secured(): void;
}

class DialledCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #endpoint: string;
  readonly #steps: Steps;

  constructor(inner: ChannelCredentials, endpoint: string, steps: Steps) {
    super();
    this.#inner = inner;
    this.#endpoint = endpoint;
    this.#steps = steps;
  }

  override _isSecure(): boolean {
    return this.#inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    _target: experimental.GrpcUri,
    options: ChannelOptions,
    callCredentials?: CallCredentials,
  ): experimental.SecureConnector {
    // The server proves to be the endpoint that was asked for, whatever stands between.
    const target = { scheme: "dns", path: this.#endpoint };
    const inner = this.#inner._createSecureConnector(target, options, callCredentials);
    return {
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
      connect: async (socket) => {
        await this.#steps.before(socket);
        const secured = await inner.connect(socket);
        this.#steps.secured();
        return secured;
      },
    };
  }
}

/** Hands grpc-js the addresses of a dial, once. */
class DialResolver implements experimental.Resolver {
  readonly #listener: experimental.ResolverListener;
  readonly #dial: Connecting;
  #asked = false;

  constructor(_target: experimental.GrpcUri, listener: experimental.ResolverListener, options: ChannelOptions) {
    this.#listener = listener;
    this.#dial = options[DIAL] as Connecting;
  }

  static getDefaultAuthority({ path }: experimental.GrpcUri): string {
    return path;
  }

  updateResolution(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#dial.addresses().then(
      (addresses) => {
        const endpoints = addresses.map((address) => ({ addresses: [address] }));
        this.#listener(experimental.statusOrFromValue(endpoints), {}, null, "");
      },
      (error: unknown) => {
        const failed = { code: status.UNAVAILABLE, details: messageOf(error) };
        this.#listener(experimental.statusOrFromError(failed), {}, null, "");
      },
    );
  }

  destroy(): void {}
}

experimental.registerResolver(SCHEME, DialResolver);

async function lookUpWithSystem(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
