// Addresses of proxies, the variables that hold them, and what is reached without one.

import { expect, test } from "vitest";
import { isDirect, parseProxy, proxyOf } from "../../worker/session/proxy.ts";

test.each([
  ["http://proxy.corp:3128", { host: "proxy.corp", port: 3128, name: "proxy.corp:3128" }],
  ["http://proxy.corp", { host: "proxy.corp", port: 80, name: "proxy.corp:80" }],
  ["proxy.corp:3128", { host: "proxy.corp", port: 3128, name: "proxy.corp:3128" }],
  ["http://[2001:db8::1]:3128/", { host: "2001:db8::1", port: 3128, name: "[2001:db8::1]:3128" }],
  [
    "http://ann:p%40ss%3A@proxy.corp:3128",
    {
      ...{ host: "proxy.corp", port: 3128, name: "proxy.corp:3128" },
      authorization: `Basic ${Buffer.from("ann:p@ss:").toString("base64")}`,
    },
  ],
])("%s is understood", (text, proxy) => expect(parseProxy(text, "X")).toEqual(proxy));

test.each([
  "",
  "http://",
  "http://ann:sesame@",
  "https://ann:sesame@proxy",
  "socks5://ann:sesame@proxy:1080",
  "http://ann:%zz@p:1",
])("%j is refused with what to write, and without the password", (text) => {
  let message = "";
  try {
    parseProxy(text, "https_proxy");
  } catch (error) {
    message = String(error);
  }
  expect(message).toContain("https_proxy");
  expect(message).toMatch(/write/);
  expect(message).not.toContain("sesame");
});

const FAR = ["cp.example:7602"];

test("ORLOJ_WORKER_PROXY is for every endpoint; none means none", () => {
  const standard = { https_proxy: "http://std:1", no_proxy: "*" };
  expect(proxyOf({ ...standard, ORLOJ_WORKER_PROXY: "http://own:1" }, FAR)).toEqual({ proxy: "http://own:1" });
  expect(proxyOf({ ...standard, ORLOJ_WORKER_PROXY: "none" }, FAR)).toEqual({});
  expect(() => proxyOf({ ORLOJ_WORKER_PROXY: "ftp://x" }, ["127.0.0.1:1"])).toThrow(/ORLOJ_WORKER_PROXY/);
});

test("the standard variables hold otherwise, with their exceptions", () => {
  expect(proxyOf({}, FAR)).toEqual({});
  expect(proxyOf({ HTTPS_PROXY: "http://a:1" }, FAR)).toEqual({ proxy: "http://a:1", proxyExcept: [] });
  const both = { grpc_proxy: "http://g:1", https_proxy: "http://h:1", no_proxy: "x, .y z" };
  expect(proxyOf(both, FAR)).toEqual({ proxy: "http://g:1", proxyExcept: ["x", ".y", "z"] });
  expect(proxyOf({ https_proxy: "http://h:1", NO_PROXY: "x" }, FAR)).toMatchObject({ proxyExcept: ["x"] });
  expect(() => proxyOf({ https_proxy: "socks5://x:1" }, FAR)).toThrow(/https_proxy.*ORLOJ_WORKER_PROXY=none/);
});

test("a standard variable that no endpoint needs is not looked at: it may be for other programs", () => {
  const strange = { https_proxy: "socks5://x:1", no_proxy: ".example" };
  expect(proxyOf(strange, ["127.0.0.1:7602", "localhost:7602", ...FAR])).toEqual({});
  expect(() => proxyOf(strange, [...FAR, "cp.other:7602"])).toThrow(/https_proxy/);
});

test.each([
  ["localhost", []],
  ["127.0.0.9", []],
  ["[::1]", []],
  ["cp.example", ["*"]],
  ["cp.example", ["cp.example"]],
  ["CP.example", ["Example"]],
  ["cp.example", [".example"]],
  ["cp.example", ["*.example"]],
  ["cp.example", ["cp.example:7602"]],
  ["10.1.2.3", ["10.1.2.3"]],
  ["10.1.2.3", ["10.0.0.0/8"]],
  ["10.1.2.3", ["10.1.2.3:7602"]],
  ["[2001:db8::5]", ["2001:db8::/32"]],
  ["[2001:db8::5]", ["[2001:db8::5]:7602"]],
])("%s is reached directly with the exceptions %j", (host, except) => expect(isDirect(host, 7602, except)).toBe(true));

test.each([
  ["cp.example", []],
  ["cp.example", [""]],
  ["cp.example", ["other.example", "p.example", "cp.example:443", "cp.example.", "10.0.0.0/8", "/", ":"]],
  ["10.1.2.3", ["10.1.2.0/25/3", "10.1.3.0/24", "10.1.2.3/99", "1.2.3", "10.1.2.3/x", "::/0"]],
  ["[2001:db8::5]", ["2001:db8:1::/48", "0.0.0.0/0", "[2001:db8::5]:443"]],
])("%s goes through the proxy with the exceptions %j", (host, except) =>
  expect(isDirect(host, 7602, except)).toBe(false),
);
