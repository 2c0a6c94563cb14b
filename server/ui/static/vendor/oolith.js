// The client of clients/js, built by `npm run vendor` there. MIT; see LICENSE.
var __defProp = Object.defineProperty;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __esm = (fn, res, err) => function __init() {
  if (err) throw err[0];
  try {
    return fn && (res = (0, fn[__getOwnPropNames(fn)[0]])(fn = 0)), res;
  } catch (e) {
    throw err = [e], e;
  }
};
var __export = (target, all) => {
  for (var name in all)
    __defProp(target, name, { get: all[name], enumerable: true });
};

// src/events.ts
var events_exports = {};
__export(events_exports, {
  events: () => events
});
async function events(of, list, { fetch, errorOf: errorOf2, oldest, refuse, opened, take, connect: connect2 }) {
  const limit = new AbortController();
  of.end = () => limit.abort();
  const response = await fetch("/~/live?" + new URLSearchParams(list.map((feed) => ["watch", feed.pattern])), {
    headers: { Accept: "text/event-stream", "Last-Event-ID": oldest(list) },
    signal: limit.signal
  });
  if (!response.ok) {
    const error = errorOf2(response, await response.text());
    const { status, problem: { pattern } } = error;
    if (!limit.signal.aborted && status < 500 && status !== 429) refuse(list.filter((feed) => !pattern || feed.pattern === pattern), error);
    throw error;
  }
  if (limit.signal.aborted) return;
  for (const feed of list) feed.asked = true;
  opened(of, ({ type }) => type === "unsubscribe" || connect2());
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    of.quiet = 0;
    const text = decoder.decode(value, { stream: true });
    rest += text;
    if (!text.includes("\n")) continue;
    const events2 = rest.split("\n\n");
    rest = events2.pop();
    for (const event of events2) {
      const data = /data: (.*)/s.exec(event);
      if (data) await take(of, data[1]);
    }
  }
}
var init_events = __esm({
  "src/events.ts"() {
    "use strict";
  }
});

// src/error.ts
var OolithError = class extends Error {
  constructor(kind, message, cause, status = 0, problem = {}, requestId = "") {
    super(message, { cause });
    Object.assign(this, { name: "OolithError", kind, status, problem, requestId });
  }
};

// src/feed.ts
function tell(listeners, event) {
  for (const listener of [...listeners]) {
    try {
      listener(event);
    } catch (error) {
      Promise.reject(error);
    }
  }
}
var tagged = (item, token) => ({ ...item, etag: `"${token.split(".")[0]}-${item.revision}"` });
function feedOf(id, pattern, { check }, { since: token, items = [], whole: all = !token }) {
  const held = new Map(items.map((item) => [item.path, item]).reverse());
  const listeners = /* @__PURE__ */ new Set();
  let sorted;
  let reset;
  const feed = {
    id,
    pattern,
    token,
    revision: +`${token}`.split(".")[1] || 0,
    status: token ? "stale" : "waiting",
    listeners,
    held,
    // Times are rounded. Of two equal times, the later item is the newer one, because the server sends a state and a
    // commit in order, and the sort is stable.
    get items() {
      return sorted ??= [...held.values()].sort((a, b) => a.created - b.created).reverse();
    },
    become(status, error) {
      if (status === feed.status) return;
      feed.status = status;
      feed.error = error;
      tell(listeners, { type: "status", status, error });
    },
    take({ type, token: token2 = "", revision, reason }, { objects, paths, changes = [] }) {
      if (type === "live" && !feed.token) return;
      const before = reset;
      reset = reason;
      if (reset || changes[0] && revision <= feed.revision) return;
      const whole = before || !feed.token;
      const made = [];
      const put = (path, item) => {
        const before2 = held.get(path);
        item &&= tagged(item, token2);
        if (item && before2?.etag === item.etag) return;
        try {
          item &&= check(item);
        } catch (error) {
          tell(listeners, { type: "invalid", path, error });
          item = void 0;
        }
        if (item) held.set(path, item);
        else if (!held.delete(path)) return;
        sorted = void 0;
        made.push({ type: item ? "set" : "del", path, item, before: before2 });
      };
      feed.token = token2;
      feed.revision = revision;
      for (const { set, del } of changes) put(set?.path ?? del, set);
      if (objects) {
        const there = new Set(whole ? [] : paths ?? objects.map((item) => item.path));
        for (const path of held.keys()) there.has(path) || put(path);
        for (const item of objects.reverse()) put(item.path, item);
        if (all && paths?.some((path) => !held.has(path))) {
          feed.token = void 0;
          feed.revision = 0;
          reset = "unknown";
          throw new OolithError("malformed", reset);
        }
      }
      if (objects && whole) tell(listeners, { type: "state", items: feed.items, revision, reset: before });
      else if (made[0]) tell(listeners, { type: "change", changes: made, revision });
      if (type === "live") feed.synced = true;
      if (feed.synced) feed.become("live");
    }
  };
  return feed;
}
var over = (status) => /f|c/.test(status);
function view(feed, listener, signal, closed) {
  const own = /* @__PURE__ */ new Set();
  const all = (event) => tell(own, event);
  const on = (listener2) => {
    own.add(listener2);
    if (feed.token) tell([listener2], { type: "state", items: feed.items, revision: feed.revision });
    if (over(feed.status)) tell([listener2], { type: "status", status: feed.status, error: feed.error });
    return () => own.delete(listener2);
  };
  const live = {
    __proto__: feed,
    on,
    get: (path) => feed.held.get(path),
    ready: new Promise((resolve, reject) => on((event) => {
      if (event.type === "state") resolve();
      if (event.type === "status" && over(event.status)) reject(event.error ?? new OolithError(event.status, event.status));
    })),
    close() {
      if (!feed.listeners.delete(all)) return;
      const status = live.status = "closed";
      all({ type: "status", status });
      closed();
    }
  };
  feed.listeners.add(all);
  live.ready.catch(() => {
  });
  if (listener) on(listener);
  signal?.addEventListener("abort", live.close);
  if (signal?.aborted) live.close();
  return live;
}

// src/http.ts
var defined = (members) => JSON.parse(JSON.stringify(members));
function checkPath(path, pattern) {
  if (/[^\w./*-]|(^|\/)\.{0,2}(\/|$)/.test(path) || pattern === !path.includes("*")) {
    throw new OolithError("invalid-path", `"${path}": expected a ${pattern ? "pattern" : "path"} of A-Z a-z 0-9 - _ . between /`);
  }
  return path;
}
async function send(context, target, { headers, ...asked }) {
  const { fetch = globalThis.fetch } = context;
  const token = await context.bearer();
  return fetch(context.base + target, {
    ...asked,
    headers: defined({ Accept: "application/vnd.oolith+json", Authorization: token && `Bearer ${token}`, ...headers })
  });
}
function errorOf({ status, headers }, text) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
  }
  const kind = `${problem.type}`.split("#")[1] || "";
  return new OolithError(kind, `${status} ${kind}: ${problem.detail || text.slice(0, 99)}`, void 0, status, problem, headers.get("x-request-id") || "");
}
async function call(context, target, asked, exact = true) {
  const { retries = 4, timeout = 3e4, backoff } = context;
  const { signal = new AbortController().signal } = asked;
  for (let attempt = 0; ; attempt++) {
    let error;
    let again = exact;
    let wait = 0;
    try {
      const response = await send(context, target, { ...asked, signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) });
      const { headers, ok, status } = response;
      const text = await response.text();
      if (ok) return { headers, text };
      error = errorOf(response, text);
      again = (exact || !!error.kind) && error.kind !== "read-only" && [429, 502, 503, 504].includes(status);
      wait = +headers.get("retry-after") * 1e3;
    } catch (cause) {
      signal.throwIfAborted();
      error = new OolithError("network", `no answer: ${cause}`, cause);
    }
    error.message = `${asked.method ?? "GET"} ${target}: ${error.message}`;
    if (!again || attempt >= retries) throw error;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, Math.max(wait || 0, backoff(attempt) / 10));
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    });
  }
}

// src/link.ts
var beat = 25e3;
function link(context) {
  const feeds = /* @__PURE__ */ new Set();
  const listeners = /* @__PURE__ */ new Set();
  const Socket = context.WebSocket === void 0 ? globalThis.WebSocket : context.WebSocket;
  let sockets = !!Socket;
  let session;
  let failures = 0;
  let timer;
  let status = { state: "idle", since: Date.now() };
  const wanted = () => [...feeds].filter((feed) => feed.status !== "failed");
  function become(state, error) {
    if (status.state === state || status.state === "closed") return;
    status = { state, since: Date.now(), transport: state === "live" ? sockets ? "socket" : "events" : void 0, error };
    tell(listeners, status);
  }
  function leave() {
    clearTimeout(timer);
    session?.end?.();
    session = timer = void 0;
    for (const feed of feeds) {
      feed.asked = feed.synced = false;
      if (feed.status === "live") feed.become("stale");
    }
  }
  function lost(of, error) {
    if (of !== session) return;
    leave();
    timer = setTimeout(connect2, context.backoff(failures++));
    become("waiting", error);
    if (!wanted().length) connect2(error);
  }
  function refuse(refused, error) {
    for (const feed of refused) feed.become("failed", error);
  }
  async function connect2(error = status.error) {
    leave();
    if (!wanted().length) return become(feeds.size ? "failed" : "idle", error);
    const of = session = { quiet: 0 };
    timer = setInterval(() => of.end?.(), 1e4);
    become("connecting", error);
    try {
      const token = await context.bearer();
      if (of !== session || sockets && await socket(of, token) || of !== session) return;
      sockets = !!Socket;
      const fetch = (target, asked) => send(context, target, asked);
      await (await Promise.resolve().then(() => (init_events(), events_exports))).events(of, wanted(), { fetch, errorOf, oldest, refuse, opened, take, connect: connect2 });
      throw new OolithError("network", "closed");
    } catch (cause) {
      lost(of, cause.kind ? cause : new OolithError("network", `no answer: ${cause}`, cause));
    }
  }
  function opened(of, send2, passes) {
    sockets = !!passes;
    of.send = send2;
    clearTimeout(timer);
    timer = setInterval(() => {
      if (of.quiet++ > 1) lost(of, new OolithError("network", "no answer"));
      else if (of.quiet > 1) send2({ type: "ping", id: 0 });
    }, beat);
  }
  const socket = (of, token) => new Promise((resolve, reject) => {
    const socket2 = new Socket(context.base.replace("http", "ws") + "/~/live", ["oolith.v1", ...token ? ["bearer", token] : []]);
    of.end = () => socket2.close();
    socket2.onerror = () => {
    };
    socket2.onclose = ({ code, reason }) => {
      if (!of.send) return resolve(false);
      const error = new OolithError("network", `closed: ${code} ${reason}`);
      if (of === session && [1002, 1007, 1009, 4400].includes(code)) refuse(wanted(), error);
      reject(error);
    };
    socket2.onmessage = ({ data }) => {
      take(of, data).then((type) => {
        if (type !== "welcome") return;
        opened(of, (message) => socket2.send(JSON.stringify(message)), true);
        ask(of, wanted());
      }, reject);
    };
  });
  function ask(of, list) {
    for (const has of [true, false]) {
      const part = list.filter((feed) => !!feed.token === has);
      if (part[0]) of.send({ type: "subscribe", subscriptions: part.map(({ id, pattern }) => ({ id, pattern })), token: oldest(part) });
    }
    for (const feed of list) feed.asked = true;
  }
  const oldest = (list) => [...list].sort((a, b) => a.revision - b.revision)[0].token;
  async function take(of, text) {
    if (of !== session) return;
    of.quiet = 0;
    const message = JSON.parse(text);
    const { type, token, revision, subscriptions = [], id, code, detail } = message;
    for (const feed of feeds) {
      for (const part of subscriptions) if (feed.asked && (part.id === feed.id || part.id === feed.pattern)) feed.take(message, part);
      if (token && feed.synced && feed.revision < revision) Object.assign(feed, { token, revision });
    }
    if (code) {
      const error = new OolithError(code, `${code}: ${detail}`);
      if (code === "unavailable") throw error;
      refuse(wanted().filter((feed) => id ? feed.id === id : !feed.synced), error);
      connect2(error);
    } else if (type === "live") {
      failures = 0;
      if (of === session && wanted().every((feed) => feed.synced)) become("live");
    }
    return type;
  }
  const client = {
    url: context.base,
    get status() {
      return status;
    },
    onStatus(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    wake() {
      for (const feed of feeds) if (feed.status === "failed") feed.become(feed.token ? "stale" : "waiting");
      if (session) session.send?.({ type: "ping", id: 0 });
      else connect2();
    },
    close() {
      globalThis.removeEventListener?.("online", client.wake);
      for (const feed of feeds) feed.become("closed");
      feeds.clear();
      leave();
      become("closed");
    }
  };
  globalThis.addEventListener?.("online", client.wake);
  return {
    client,
    add(feed) {
      if (status.state === "closed") return feed.become("closed");
      feeds.add(feed);
      setTimeout(() => {
        if (session?.send) ask(session, wanted().filter((feed2) => !feed2.asked));
        else if (!session && !timer) connect2();
      });
    },
    remove(feed) {
      if (feeds.delete(feed) && feed.asked) session?.send?.({ type: "unsubscribe", id: feed.id });
      if (!feeds.size) connect2();
    }
  };
}

// src/index.ts
function connect(url, options = {}) {
  const { token, validate } = options;
  const context = {
    backoff: (failures) => Math.min(2 ** failures, 8) * (1 + 3 * Math.random()) * 1e3,
    ...options,
    base: new URL(url, globalThis.location?.href).href.replace(/\/$/, ""),
    bearer: async () => typeof token === "function" ? token() : token,
    check(item) {
      if (!validate) return item;
      try {
        return { ...item, data: validate(item.path, item.data) };
      } catch (cause) {
        throw new OolithError("invalid-data", `${item.path}: ${cause}`, cause);
      }
    }
  };
  const { client, add, remove } = link(context);
  const shared = /* @__PURE__ */ new Map();
  let ids = 0;
  function write(method, target, data, { ifMatch, ifNoneMatch, ttl, signal, idempotencyKey } = {}, type = "application/json") {
    if (options.retries !== 0 && !(method === "DELETE" && target.includes("*"))) {
      idempotencyKey ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
    }
    return call(context, target, {
      method,
      body: JSON.stringify(data),
      headers: {
        "Content-Type": type,
        "If-Match": ifMatch,
        "If-None-Match": ifNoneMatch,
        "Oolith-TTL": ttl,
        // The problem of a failed condition has the present object.
        Prefer: ifMatch || ifNoneMatch ? "return=representation" : void 0,
        "Idempotency-Key": idempotencyKey
      },
      signal
    }, !!idempotencyKey);
  }
  async function written(method, path, data, options2, type) {
    const { headers } = await write(method, "/" + checkPath(path, method === "POST"), data, options2, type);
    const made = headers.get("location")?.slice(1) || path;
    const etag = headers.get("etag");
    return { path: made, index: made.split("/").pop(), etag, revision: parseInt(etag.split("-")[1]) };
  }
  const found = (request) => request.catch((error) => {
    if (error.kind !== "not-found") throw error;
    return void 0;
  });
  const put = (method) => async (path, data, options2) => written(method, path, context.check({ path, data }).data, options2);
  const change = (kind) => async (path, data, options2) => written("PATCH", path, data, options2, `application/${kind}-patch+json`);
  return Object.assign(client, {
    async get(path, { signal } = {}) {
      const answer = await found(call(context, "/" + checkPath(path, false), { signal }));
      return answer && context.check({ ...JSON.parse(answer.text), etag: answer.headers.get("etag") });
    },
    set: put("PUT"),
    push: put("POST"),
    merge: change("merge"),
    patch: change("json"),
    del: async (path, options2) => !!await found(write("DELETE", "/" + checkPath(path), void 0, options2)),
    async batch(changes, options2) {
      const checked = changes.map((change2) => /set|push/.test(change2.op) ? context.check(change2) : change2);
      return JSON.parse((await write("POST", "/~/batch", { changes: checked }, options2)).text).results;
    },
    async page(pattern, { signal, limit = 100, from, to, ...rest } = {}) {
      const query = new URLSearchParams(defined({ ...rest, limit, from, to }));
      const { text, headers } = await call(context, `/${checkPath(pattern, true)}?${query}`, { signal });
      const token2 = `${headers.get("etag").slice(1).split("-")[0]}.${headers.get("oolith-revision")}`;
      return {
        items: JSON.parse(text).map((item) => context.check(tagged(item, token2))),
        next: new URLSearchParams(headers.get("link")?.split(/[?>]/)[1]).get("cursor") || void 0,
        token: token2
      };
    },
    live(pattern, listener, options2 = {}) {
      checkPath(pattern);
      const key = options2.since ? {} : pattern;
      const feed = shared.get(key) ?? feedOf(++ids, pattern, context, options2);
      shared.set(key, feed);
      add(feed);
      return view(feed, listener, options2.signal, () => setTimeout(() => {
        if (feed.listeners.size) return;
        shared.delete(key);
        remove(feed);
      }));
    }
  });
}
export {
  OolithError,
  connect
};
