// The http tool: which addresses it refuses, in every spelling; redirects; rebinding; caps; classes.

import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import type { HttpMeans, ToolRun } from "../../worker/tool/executor.ts";
import { createHttpExecutor } from "../../worker/tool/http.ts";
import type { ResolveName } from "../../worker/tool/network.ts";

const clock = systemClock();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A server on loopback that counts its connections. */
async function sink(listener: RequestListener) {
  const server: Server = createServer(listener);
  let connections = 0;
  server.on("connection", () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}`, connections: () => connections };
}

interface Options {
  readonly networks?: string[];
  readonly resolve?: ResolveName;
  readonly timeoutMs?: number;
  readonly resultBytesMax?: number;
  readonly signal?: AbortSignal;
}

function call(means: Partial<HttpMeans> & { url: string }, options: Options = {}): Promise<ToolRun> {
  const executor = createHttpExecutor({
    guard: createAddressGuard(options.networks ?? ["127.0.0.0/8"]),
    clock,
    ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
  });
  return executor.run({
    means: { kind: "http", method: "GET", headers: {}, allowPrivateNetwork: true, ...means },
    timeoutMs: options.timeoutMs ?? 10_000,
    resultBytesMax: options.resultBytesMax ?? 10_000,
    redactor: new Redactor(),
    signal: options.signal ?? new AbortController().signal,
  });
}

const failure = (failureClass: string, ambiguous: boolean) => ({
  ok: false,
  failure: { class: failureClass, ambiguous },
});

describe("forbidden addresses", () => {
  const hosts = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[::127.0.0.1]",
    "0.0.0.0",
    "0",
    "[::]",
    "10.0.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.1.1",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[fec0::1]",
  ];
  test.each(hosts)("%s gets no connection from a tool that may not reach private networks", async (host) => {
    const target = await sink((_, response) => response.end("secret"));
    const resolve: ResolveName = async () => [{ address: "127.0.0.1", family: 4 }];
    const run = await call({ url: `http://${host}:${target.port}/`, allowPrivateNetwork: false }, { resolve });
    expect(run).toMatchObject(failure("AddressForbidden", false));
    expect(target.connections()).toBe(0);
  });

  test.each([
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "0.0.0.0",
    "224.0.0.1",
    "[fd00:ec2::254]",
    "168.63.129.16",
  ])("%s stays refused when the operator lists every network", async (host) => {
    const run = await call({ url: `http://${host}/` }, { networks: ["0.0.0.0/0", "::/0"] });
    expect(run).toMatchObject(failure("AddressForbidden", false));
  });

  test("a private address outside the operator's ranges is refused though the tool allows private networks", async () => {
    const target = await sink((_, response) => response.end("x"));
    expect(await call({ url: target.url }, { networks: ["10.0.0.0/8"] })).toMatchObject(
      failure("AddressForbidden", false),
    );
    expect(target.connections()).toBe(0);
  });

  test.each(["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])(
    "%s is public",
    (address) => {
      expect(createAddressGuard([]).refusal(address, false, 80)).toBeUndefined();
    },
  );

  test.each(["10.0.0.0", "10.0.0.0/33", "nets/8", "::/129"])("the range %s is refused at the start", (range) => {
    expect(() => createAddressGuard([range])).toThrow(/network range/);
  });
});

describe("names", () => {
  test("a name with one forbidden address among public ones gets no connection", async () => {
    const resolve: ResolveName = async () => [
      { address: "93.184.216.34", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ];
    const target = await sink((_, response) => response.end("x"));
    const run = await call({ url: `http://rebind.example:${target.port}/`, allowPrivateNetwork: false }, { resolve });
    expect(run).toMatchObject(failure("AddressForbidden", false));
    expect(target.connections()).toBe(0);
  });

  test("a name that changes its answer is resolved once a connection: what was checked is what is dialled", async () => {
    const answers = ["127.0.0.1", "169.254.169.254"];
    let asked = 0;
    const resolve: ResolveName = async () => {
      asked += 1;
      return [{ address: answers.shift() as string, family: 4 }];
    };
    const target = await sink((_, response) => response.end("first"));
    const url = `http://rebind.example:${target.port}/`;
    expect(await call({ url }, { resolve })).toEqual({ ok: true, result: { status: 200, text: "first" } });
    expect(asked).toBe(1);
    expect(await call({ url }, { resolve })).toMatchObject(failure("AddressForbidden", false));
    expect(target.connections()).toBe(1);
  });

  test("a name that does not resolve is DnsError", async () => {
    const resolve: ResolveName = () => Promise.reject(new Error("queryA ENOTFOUND"));
    expect(await call({ url: "http://nowhere.example/" }, { resolve })).toMatchObject(failure("DnsError", false));
  });

  test.each(["file:///etc/passwd", "ftp://127.0.0.1/", "http://user:secret@127.0.0.1/"])(
    "%s is not called",
    async (url) => {
      const run = await call({ url });
      expect(run).toMatchObject(failure("AddressForbidden", false));
      expect(JSON.stringify(run)).not.toContain("secret");
    },
  );

  test("proxies in the environment are not used", async () => {
    const proxy = await sink((_, response) => response.end("proxied"));
    const target = await sink((_, response) => response.end("direct"));
    const before = { ...process.env };
    Object.assign(process.env, { http_proxy: proxy.url, HTTP_PROXY: proxy.url, NODE_USE_ENV_PROXY: "1" });
    try {
      expect(await call({ url: target.url })).toEqual({ ok: true, result: { status: 200, text: "direct" } });
    } finally {
      process.env = before;
    }
    expect(proxy.connections()).toBe(0);
  });
});

describe("redirects", () => {
  test("to a forbidden address are not followed", async () => {
    const target = await sink((_, response) => response.writeHead(302, { location: "http://169.254.169.254/" }).end());
    expect(await call({ url: target.url })).toMatchObject(failure("AddressForbidden", true));
  });

  test("end after five", async () => {
    let requests = 0;
    const target = await sink((_, response) => {
      requests += 1;
      response.writeHead(307, { location: "/again" }).end();
    });
    expect(await call({ url: target.url })).toMatchObject(failure("ResponseInvalid", true));
    expect(requests).toBe(6);
  });

  test("303 turns a POST into a GET without body; 307 keeps both; the same origin keeps the headers", async () => {
    const seen: string[] = [];
    const target = await sink((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        seen.push(`${request.method} ${request.url} ${body} ${request.headers.authorization}`);
        if (request.url === "/a") response.writeHead(307, { location: "/b" }).end();
        else if (request.url === "/b") response.writeHead(303, { location: "/c" }).end();
        else response.end("ok");
      });
    });
    const headers = { Authorization: "t" };
    await call({ url: `${target.url}/a`, method: "POST", headers, body: Buffer.from("{}") });
    expect(seen).toEqual(["POST /a {} t", "POST /b {} t", "GET /c  t"]);
  });

  test("another origin gets no header of the grant, and no body at all", async () => {
    const seen: string[] = [];
    const other = await sink((request, response) => {
      seen.push(JSON.stringify(request.headers));
      response.end("ok");
    });
    const target = await sink((_, response) => response.writeHead(307, { location: other.url }).end());
    await call({ url: target.url, headers: { Authorization: "canary", "X-Key": "canary" } });
    const run = await call({ url: target.url, method: "POST", body: Buffer.from("canary") });
    expect(run).toMatchObject(failure("ResponseInvalid", true));
    expect(seen.length).toBe(1);
    expect(seen[0]).not.toContain("canary");
  });
});

describe("answers", () => {
  test.each<[number, Record<string, string>, string, boolean]>([
    [429, { "retry-after": "2" }, "RateLimited", false],
    [404, {}, "Http4xx", false],
    [500, {}, "Http5xx", true],
    [503, {}, "Http5xx", true],
    [503, { "retry-after": "2" }, "Http503", false],
  ])("%i %o is %s", async (status, headers, failureClass, ambiguous) => {
    const target = await sink((_, response) => response.writeHead(status, headers).end("no"));
    const run = await call({ url: target.url });
    expect(run).toMatchObject(failure(failureClass, ambiguous));
    if (headers["retry-after"] !== undefined) expect(run).toMatchObject({ failure: { retryAfterMs: 2_000 } });
  });

  test("JSON is parsed when the content type says so, anything else is text with its status", async () => {
    const target = await sink((request, response) => {
      const type = request.url === "/json" ? "application/problem+json; charset=utf-8" : "text/plain";
      response.writeHead(201, { "content-type": type }).end('{"a":1}');
    });
    expect(await call({ url: `${target.url}/json` })).toEqual({ ok: true, result: { a: 1 } });
    expect(await call({ url: `${target.url}/text` })).toEqual({ ok: true, result: { status: 201, text: '{"a":1}' } });
  });

  test("broken JSON is ResponseInvalid", async () => {
    const target = await sink((_, response) =>
      response.writeHead(200, { "content-type": "application/json" }).end("{"),
    );
    expect(await call({ url: target.url })).toMatchObject(failure("ResponseInvalid", true));
  });

  test("an endless answer ends at the cap", async () => {
    const target = await sink((_, response) => {
      const pour = () => {
        while (!response.destroyed && response.write("x".repeat(10_000)));
      };
      response.on("drain", pour);
      pour();
    });
    expect(await call({ url: target.url })).toMatchObject(failure("ResponseTooLarge", true));
  });

  test("an endpoint that hangs is an ambiguous Timeout", async () => {
    const target = await sink(() => {});
    expect(await call({ url: target.url }, { timeoutMs: 100 })).toMatchObject(failure("Timeout", true));
  });

  test("a stopped call is Cancelled at once", async () => {
    const controller = new AbortController();
    const target = await sink(() => controller.abort());
    expect(await call({ url: target.url }, { signal: controller.signal })).toMatchObject(failure("Cancelled", true));
  });

  test("a closed port is ConnectionRefused, surely without effect", async () => {
    const target = await sink(() => {});
    await closers.pop()?.();
    expect(await call({ url: target.url })).toMatchObject(failure("ConnectionRefused", false));
  });

  test("a connection that breaks after the request is an ambiguous ConnectionReset", async () => {
    const server = createTcpServer((socket) => {
      socket.on("data", () => socket.resetAndDestroy());
      socket.on("error", () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closers.push(() => new Promise((resolve) => server.close(() => resolve())));
    const { port } = server.address() as AddressInfo;
    expect(await call({ url: `http://127.0.0.1:${port}/` })).toMatchObject(failure("ConnectionReset", true));
  });

  test("a header that HTTP does not allow is refused without a connection and without quoting it", async () => {
    const target = await sink((_, response) => response.end("x"));
    const run = await call({ url: target.url, headers: { "X-Key": "canary\r\nX-Other: 1" } });
    expect(run).toMatchObject({ ok: false });
    expect(JSON.stringify(run)).not.toContain("canary");
    expect(target.connections()).toBe(0);
  });
});
