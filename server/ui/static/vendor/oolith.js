// The client of clients/js, built by `npm run vendor` there. MIT; see LICENSE.
// src/error.ts
var OolithError = class extends Error {
  name = "OolithError";
  constructor(kind, message, cause, status = 0, problem = {}, requestId = "") {
    super(message, { cause });
    Object.assign(this, { kind, status, problem, requestId });
  }
};

// src/feed.ts
function tell(listeners, event) {
  for (const listener of [...listeners]) {
    try {
      listener(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
function feedOf(id, pattern, { check }, { since: token, items = [] }) {
  const held = new Map(items.map((item) => [item.path, item]).reverse());
  const listeners = /* @__PURE__ */ new Set();
  let sorted;
  let reset;
  const feed = {
    id,
    pattern,
    token,
    revision: +(token?.split(".")[1] ?? 0),
    asked: false,
    synced: false,
    status: token ? "stale" : "waiting",
    error: void 0,
    listeners,
    held,
    // Times are rounded: of those that are equal, the one that came later is the newer one, as the server tells a state and a
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
    take({ type, token: token2 = "", revision, reason }, { objects = [], paths, changes = [] }) {
      const whole = !feed.token || reset;
      const etag = (item) => `"${token2.split(".")[0]}-${item.revision}"`;
      const made = [];
      const put = (path, item) => {
        const before = held.get(path);
        try {
          item &&= check({ ...item, etag: etag(item) });
        } catch (error) {
          tell(listeners, { type: "invalid", path, error });
          item = void 0;
        }
        if (item) {
          held.set(path, item);
          made.push({ type: "set", path, item, before });
        } else if (held.delete(path)) made.push({ type: "del", path, item, before });
      };
      if (type === "reset") {
        reset = reason;
        return;
      }
      if (type === "patch" && revision <= feed.revision) return;
      feed.token = token2;
      feed.revision = revision;
      if (type === "live") {
        feed.synced = true;
        feed.become("live");
      } else if (type === "patch") {
        for (const { set, del } of changes) put(set?.path ?? del, set);
      } else {
        const there = new Set(whole ? [] : paths ?? objects.map((item) => item.path));
        for (const path of held.keys()) there.has(path) || put(path);
        for (const item of objects.reverse()) held.get(item.path)?.etag === etag(item) || put(item.path, item);
      }
      if (made[0]) sorted = void 0;
      if (whole) {
        tell(listeners, { type: "state", items: feed.items, revision, reset });
        reset = void 0;
        feed.become("live");
      } else if (made[0]) tell(listeners, { type: "change", changes: made, revision });
    }
  };
  return feed;
}
function view(feed, listener, signal, closed) {
  const own = /* @__PURE__ */ new Set();
  const all = (event) => tell(own, event);
  const on = (listener2) => {
    const each = (event) => listener2(event);
    own.add(each);
    if (feed.token) tell([each], { type: "state", items: feed.items, revision: feed.revision, reset: void 0 });
    if (feed.error) tell([each], { type: "status", status: feed.status, error: feed.error });
    return () => void own.delete(each);
  };
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    feed.listeners.delete(all);
    all({ type: "status", status: "closed", error: void 0 });
    closed();
  };
  feed.listeners.add(all);
  const ready = new Promise((resolve, reject) => on((event) => {
    if (event.type === "state") resolve();
    if (event.type === "status" && /f|c/.test(event.status)) reject(event.error ?? new OolithError("closed", `live ${feed.pattern}: closed`));
  }));
  ready.catch(() => {
  });
  if (listener) on(listener);
  signal?.addEventListener("abort", close);
  if (signal?.aborted) close();
  return {
    pattern: feed.pattern,
    get items() {
      return feed.items;
    },
    get status() {
      return open ? feed.status : "closed";
    },
    get error() {
      return feed.error;
    },
    get revision() {
      return feed.revision;
    },
    get token() {
      return feed.token;
    },
    ready,
    on,
    close,
    get: (path) => feed.held.get(path)
  };
}

// src/http.ts
var defined = (members) => JSON.parse(JSON.stringify(members));
function checkPath(path, glob) {
  if (!/^(?!(.*\/)?\.\.?(\/|$))[\w.-]+(\/[\w.-]+)*$/.test(glob ? path.replace(/\*/g, "_") : path)) {
    throw new OolithError("invalid-path", `"${path}": expected segments of A-Z a-z 0-9 - _ .${glob ? " *" : ""} joined by /`);
  }
  return path;
}
async function send(context, target, { headers, ...asked }) {
  const token = await context.bearer();
  return context.fetch(context.base + target, {
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
  const kind = `${problem.type}`.split("#")[1] ?? "";
  return new OolithError(kind, `${status} ${kind}: ${problem.detail ?? text.slice(0, 200)}`, void 0, status, problem, headers.get("x-request-id") ?? "");
}
async function call(context, target, asked, exact = true) {
  const { retries = 4, timeout = 3e4, backoff } = context;
  const { signal } = asked;
  for (let attempt = 0; ; attempt++) {
    let error;
    let again = exact;
    let wait = 0;
    const limit = AbortSignal.timeout(timeout);
    try {
      const response = await send(context, target, { ...asked, signal: signal ? AbortSignal.any([signal, limit]) : limit });
      const { headers, ok, status } = response;
      const text = await response.text();
      if (ok) return { headers, text };
      error = errorOf(response, text);
      again = (exact || !!error.kind) && error.kind !== "read-only" && [429, 502, 503, 504].includes(status);
      wait = +headers.get("retry-after") * 1e3;
    } catch (cause) {
      signal?.throwIfAborted();
      error = new OolithError("network", `no answer: ${cause}`, cause);
    }
    error.message = `${asked.method ?? "GET"} ${target}: ${error.message}`;
    if (!again || attempt >= retries) throw error;
    await new Promise((resolve, reject) => {
      setTimeout(resolve, Math.max(wait || 0, backoff(attempt) / 10));
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  }
}

// src/link.ts
var beat = 25e3;
function link(context) {
  const feeds = /* @__PURE__ */ new Map();
  const listeners = /* @__PURE__ */ new Set();
  const Socket = context.WebSocket === void 0 ? globalThis.WebSocket : context.WebSocket;
  let sockets = !!Socket;
  let session;
  let failures = 0;
  let timer;
  let status = { state: "idle", since: Date.now(), transport: void 0, error: void 0 };
  const wanted = () => [...feeds.values()].filter((feed) => feed.status !== "failed");
  function become(state, error) {
    if (status.state === state || status.state === "closed") return;
    status = { state, since: Date.now(), transport: state === "live" ? sockets ? "socket" : "events" : void 0, error };
    tell(listeners, status);
  }
  function leave() {
    clearTimeout(timer);
    const ended = session;
    session = timer = void 0;
    ended?.end();
    for (const feed of feeds.values()) {
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
    const of = session = { quiet: 0, end() {
    } };
    become("connecting", error);
    try {
      if (sockets && await socket(of, await context.bearer())) return;
      if (of === session) await events(of);
    } catch (cause) {
      lost(of, new OolithError("network", `no connection: ${cause}`, cause));
    }
  }
  function opened(of, send2) {
    of.send = send2;
    clearTimeout(timer);
    timer = setInterval(() => {
      if (of.quiet++ > 1) lost(of, new OolithError("network", "no sign of life"));
      else if (of.quiet > 1) send2({ type: "ping", id: 0 });
    }, beat);
  }
  const socket = (of, token) => new Promise((resolve) => {
    const socket2 = new Socket(context.base.replace("http", "ws") + "/~/live", ["oolith.v1", ...token ? ["bearer", token] : []]);
    of.end = () => socket2.close();
    timer = setTimeout(of.end, 1e4);
    socket2.onerror = () => {
    };
    socket2.onclose = ({ code, reason }) => {
      resolve(false);
      const error = new OolithError("network", `closed: ${code} ${reason}`);
      if (of !== session || !of.send) return;
      if ([1002, 1007, 1009, 4400].includes(code)) refuse(wanted(), error);
      lost(of, error);
    };
    socket2.onmessage = ({ data }) => {
      if (take(of, data) !== "welcome") return;
      opened(of, (message) => socket2.send(JSON.stringify(message)));
      ask(of, wanted());
      resolve(true);
    };
  });
  function ask(of, list) {
    const held = list.filter((feed) => feed.token);
    for (const part of [held, ...list.filter((feed) => !feed.token).map((feed) => [feed])]) {
      if (part[0]) of.send({ type: "subscribe", subscriptions: part.map(({ id, pattern }) => ({ id, pattern })), token: oldest(part) });
    }
    for (const feed of list) feed.asked = true;
  }
  const oldest = (list) => list.reduce((a, b) => a.revision < b.revision ? a : b).token;
  function take(of, text) {
    if (of !== session) return;
    of.quiet = 0;
    try {
      const message = JSON.parse(text);
      const { type, token, revision, subscriptions = [], id, code, detail } = message;
      for (const feed of feeds.values()) {
        for (const part of subscriptions) if (feed.asked && [feed.id, feed.pattern].includes(part.id)) feed.take(message, part);
        if (token && feed.synced && feed.revision < revision) Object.assign(feed, { token, revision });
      }
      if (type === "problem") {
        const error = new OolithError(code, `${code}: ${detail}`);
        const feed = feeds.get(id);
        if (code === "unavailable") lost(of, error);
        else {
          refuse(feed ? [feed] : wanted(), error);
          if (!feed || feed.token || !wanted().length) connect2(error);
        }
      } else if (type === "live") {
        failures = 0;
        if (of === session && wanted().every((feed) => feed.synced)) become("live");
      }
      return type;
    } catch (cause) {
      lost(of, new OolithError("malformed", `no message: ${cause}`, cause));
    }
    return;
  }
  async function events(of) {
    const list = wanted();
    const limit = new AbortController();
    of.end = () => limit.abort();
    timer = setTimeout(of.end, 1e4);
    sockets = !!Socket;
    const response = await send(context, "/~/live?" + new URLSearchParams(list.map((feed) => ["watch", feed.pattern])), {
      headers: { Accept: "text/event-stream", "Last-Event-ID": oldest(list) },
      signal: limit.signal
    });
    if (!response.ok) {
      const error = errorOf(response, await response.text());
      const { status: status2, problem } = error;
      if (of === session && status2 < 500 && status2 !== 429) {
        const named = list.filter((feed) => feed.pattern === problem.pattern);
        refuse(named[0] ? named : list, error);
      }
      return lost(of, error);
    }
    if (of !== session) return;
    sockets = false;
    for (const feed of list) feed.asked = true;
    opened(of, ({ type }) => type === "unsubscribe" || connect2());
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (let rest = "", from = 0; ; from = Math.max(0, rest.length - 1)) {
      const { done, value } = await reader.read();
      if (done) return lost(of, new OolithError("network", "the stream ended"));
      of.quiet = 0;
      rest += decoder.decode(value, { stream: true });
      for (let end; (end = rest.indexOf("\n\n", from)) >= 0; from = 0) {
        const data = /^data: (.*)$/m.exec(rest.slice(0, end));
        rest = rest.slice(end + 2);
        if (data) take(of, data[1]);
      }
    }
  }
  const calls = {
    url: context.base,
    get status() {
      return status;
    },
    onStatus(listener) {
      const each = (status2) => listener(status2);
      listeners.add(each);
      return () => void listeners.delete(each);
    },
    wake() {
      for (const feed of feeds.values()) if (feed.status === "failed") feed.become(feed.token ? "stale" : "waiting");
      if (session) session.send?.({ type: "ping", id: 0 });
      else connect2();
    },
    close() {
      globalThis.removeEventListener?.("online", calls.wake);
      for (const feed of feeds.values()) feed.become("closed");
      feeds.clear();
      leave();
      become("closed");
    }
  };
  globalThis.addEventListener?.("online", calls.wake);
  return {
    calls,
    add(feed) {
      feeds.set(feed.id, feed);
      setTimeout(() => {
        if (session?.send) ask(session, wanted().filter((feed2) => !feed2.asked));
        else if (!session && !timer) connect2();
      });
    },
    remove(feed) {
      feeds.delete(feed.id);
      if (feed.asked) session?.send?.({ type: "unsubscribe", id: feed.id });
      if (!feeds.size) connect2();
    }
  };
}

// src/index.ts
function connect(url, options = {}) {
  const { token, validate } = options;
  const context = {
    fetch: (...asked) => fetch(...asked),
    backoff: (failures) => Math.min(2 ** failures, 8) * (1 + 3 * Math.random()) * 1e3,
    ...options,
    base: new URL(url, globalThis.location?.href).href.replace(/\/?([?#].*)?$/, ""),
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
  const { calls, add, remove } = link(context);
  const shared = /* @__PURE__ */ new Map();
  const views = /* @__PURE__ */ new Map();
  let ids = 0;
  function write(method, target, data, { ifMatch, ifNoneMatch, ttl, signal, idempotencyKey } = {}, type = "application/json") {
    if (options.retries !== 0 && !(method === "DELETE" && target.includes("*"))) {
      idempotencyKey ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
    }
    return call(context, target, {
      method,
      body: JSON.stringify(data),
      headers: {
        "Content-Type": data === void 0 ? data : type,
        "If-Match": ifMatch,
        "If-None-Match": ifNoneMatch,
        "Oolith-TTL": ttl?.toString(),
        // The problem of a condition has the object that is there.
        Prefer: ifMatch || ifNoneMatch ? "return=representation" : void 0,
        "Idempotency-Key": idempotencyKey
      },
      signal
    }, !!idempotencyKey);
  }
  async function written(method, path, data, options2, type) {
    const { headers } = await write(method, "/" + checkPath(path, method === "POST"), data, options2, type);
    const made = headers.get("location")?.slice(1) ?? path;
    const etag = headers.get("etag");
    return { path: made, index: made.split("/").pop(), etag, revision: parseInt(etag.split("-")[1]) };
  }
  const found = (request) => request.catch((error) => {
    if (error.kind !== "not-found") throw error;
    return void 0;
  });
  return Object.defineProperties({
    async get(path, { signal } = {}) {
      const answer = await found(call(context, "/" + checkPath(path), { signal }));
      return answer && context.check({ ...JSON.parse(answer.text), etag: answer.headers.get("etag") });
    },
    set: async (path, data, options2) => written("PUT", path, context.check({ path, data }).data, options2),
    push: async (path, data, options2) => written("POST", path, context.check({ path, data }).data, options2),
    merge: async (path, change, options2) => written("PATCH", path, change, options2, "application/merge-patch+json"),
    patch: async (path, operations, options2) => written("PATCH", path, operations, options2, "application/json-patch+json"),
    del: async (path, options2) => !!await found(write("DELETE", "/" + checkPath(path, true), void 0, options2)),
    async batch(changes, options2) {
      const checked = changes.map((change) => /set|push/.test(change.op) ? context.check(change) : change);
      return JSON.parse((await write("POST", "/~/batch", { changes: checked }, options2)).text).results;
    },
    async page(pattern, { signal, limit = 100, from, to, ...rest } = {}) {
      const query = new URLSearchParams(defined({ ...rest, limit, from, to }));
      const { text, headers } = await call(context, `/${checkPath(pattern, true)}?${query}`, { signal });
      const [store, revision] = headers.get("etag").slice(1, -1).split("-");
      return {
        items: JSON.parse(text).map((item) => context.check({ ...item, etag: `"${store}-${item.revision}"` })),
        next: new URLSearchParams(headers.get("link")?.split(/[?>]/)[1]).get("cursor") ?? void 0,
        token: `${store}.${revision}`
      };
    },
    live(pattern, listener, options2 = {}) {
      checkPath(pattern, true);
      const kept = options2.since ? void 0 : shared.get(pattern);
      const feed = kept ?? feedOf(++ids, pattern, context, options2);
      if (!kept) add(feed);
      if (!options2.since) shared.set(pattern, feed);
      views.set(feed, (views.get(feed) ?? 0) + 1);
      return view(feed, listener, options2.signal, () => {
        setTimeout(() => {
          const left = views.get(feed) - 1;
          views.set(feed, left);
          if (left) return;
          views.delete(feed);
          if (shared.get(pattern) === feed) shared.delete(pattern);
          remove(feed);
        });
      });
    }
  }, Object.getOwnPropertyDescriptors(calls));
}
export {
  OolithError,
  connect
};
