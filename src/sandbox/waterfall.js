// Draws one trace as a waterfall: `renderWaterfall(element, traceId)`.
// Fetches it again while it is unfinished; returns a function that stops that and empties the element.
(() => {
  "use strict";

  const STYLE = `
    .wf { --ink:#1c2733; --dim:#55636e; --line:#e3e8ee; --paper:#fff; --hover:#f3f6fa; --bad:#d92d20;
      --server:#7a5af8; --client:#0e9384; --producer:#d97706; --consumer:#2e7df6; --internal:#7b8794;
      container-type:inline-size; color:var(--ink); background:var(--paper);
      font:13px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
    @media (prefers-color-scheme: dark) { .wf:not([data-theme=light] *) { --ink:#e6edf3; --dim:#8b98a5; --line:#2b3640;
      --paper:#17212b; --hover:#1f2c38; --bad:#f97066; --server:#a48afb; --client:#2ed3b7; --producer:#fdb022;
      --consumer:#5ea1ff; --internal:#94a3b3; } .wf:not([data-theme=light] *) { --dim:#9aa8b6; } }
    [data-theme=dark] .wf { --ink:#e6edf3; --dim:#8b98a5; --line:#2b3640; --paper:#17212b; --hover:#1f2c38;
      --bad:#f97066; --server:#a48afb; --client:#2ed3b7; --producer:#fdb022; --consumer:#5ea1ff; --internal:#94a3b3; }
    .wf * { box-sizing:border-box; }
    .wf-head { display:flex; flex-wrap:wrap; gap:4px 12px; align-items:baseline; padding:10px 12px; border-bottom:1px solid var(--line); }
    .wf-head b { font-weight:600; }
    .wf-dim { color:var(--dim); }
    .wf-head a { color:var(--ink); text-decoration:underline; }
    .wf-live { color:var(--ink); }
    .wf-live::before { content:""; display:inline-block; width:7px; height:7px; border-radius:50%; background:var(--client);
      margin-right:5px; animation:wf-pulse 1.2s ease-in-out infinite; }
    @keyframes wf-pulse { 50% { opacity:.25; } }
    @media (prefers-reduced-motion: reduce) { .wf-live::before { animation:none; } }
    .wf-row { display:grid; grid-template:"name track time" / minmax(0,40%) 1fr 68px; align-items:center; width:100%; min-height:26px; padding:2px 12px;
      border:0; border-bottom:1px solid var(--line); background:none; color:inherit; font:inherit; text-align:left; cursor:pointer; }
    .wf-row:hover, .wf-row[aria-expanded=true] { background:var(--hover); }
    .wf-row:focus-visible { outline:2px solid var(--consumer); outline-offset:-2px; }
    .wf-name { grid-area:name; display:flex; gap:6px; align-items:center; min-width:0; padding-right:8px; }
    .wf-name i { flex:none; width:8px; height:8px; border-radius:2px; background:var(--kind); }
    .wf-name span { min-width:0; overflow:hidden; text-overflow:ellipsis; white-space:nowrap; }
    /* A narrow panel cuts the explanation first, then the name. */
    .wf-name small { flex:0 999 auto; min-width:0; overflow:hidden; text-overflow:ellipsis; color:var(--dim); font-size:11px; white-space:nowrap; }
    .wf-track { grid-area:track; position:relative; height:14px; }
    .wf-bar { position:absolute; top:2px; height:10px; min-width:3px; border-radius:3px; background:var(--kind); }
    .wf-time { grid-area:time; text-align:right; font-size:11px; color:var(--dim); white-space:nowrap; font-variant-numeric:tabular-nums; }
    .wf-tick { position:absolute; top:0; width:2px; height:14px; border-radius:1px; background:var(--ink); opacity:.55; }
    .wf-error .wf-name span { color:var(--bad); font-weight:600; }
    .wf-error .wf-bar { box-shadow:0 0 0 2px var(--bad); }
    .wf-open { padding:6px 12px 12px; border-bottom:1px solid var(--line); background:var(--hover); overflow-x:auto; }
    .wf-open table { border-collapse:collapse; color:inherit; font:inherit; width:100%; table-layout:fixed; }
    .wf-open td { padding:2px 8px 2px 0; vertical-align:top; overflow-wrap:anywhere; font-size:12px; white-space:pre-wrap; }
    .wf-open td:first-child { width:42%; color:var(--dim); }
    .wf-open h4 { margin:8px 0 2px; font-size:12px; font-weight:600; }
    .wf-note { padding:12px; color:var(--dim); }
    .wf-legend { display:flex; flex-wrap:wrap; gap:2px 14px; margin:0; padding:6px 12px; font-size:12px; color:var(--dim);
      border-bottom:1px solid var(--line); list-style:none; }
    .wf-legend i { display:inline-block; width:8px; height:8px; margin-right:5px; border-radius:2px; background:var(--kind); }
    @container (max-width: 520px) {
      .wf-row { grid-template:"name time" "track track" / minmax(0,1fr) auto; padding-block:4px; }
      .wf-open td:first-child { width:45%; }
    }`;

  const KINDS = ["server", "client", "producer", "consumer", "internal"];

  // What a span is about, for who does not know the conventions: the first pattern that fits its name.
  const PLAIN = {
    en: [
      [/^update callback/, "your tap reaches the bot"], [/^update/, "your message reaches the bot"],
      [/^job$/, "the picture, from asking to its end"], [/^wait in line/, "waits in line"],
      [/^send submit/, "a worker is called"], [/^process submit/, "a worker asks the provider"],
      [/^generate_content/, "the picture is made"], [/^send deliver/, "a worker is called: it is ready"],
      [/^wait for/, "waits for its turn"], [/^process deliver/, "a worker shows the picture"],
      [/^(send|edit|delete|answer|get|set|create|refund|leave)[A-Z]/, "a call to Telegram"], [/^POST/, "asks over HTTP"],
      [/^GET/, "looks or fetches over HTTP"],
    ],
    ru: [
      [/^update callback/, "ваше нажатие приходит боту"], [/^update/, "ваше сообщение приходит боту"],
      [/^job$/, "картинка, от запроса до конца"], [/^wait in line/, "ждёт в очереди"],
      [/^send submit/, "зовут исполнителя"], [/^process submit/, "исполнитель просит провайдера"],
      [/^generate_content/, "картинка создаётся"], [/^send deliver/, "зовут исполнителя: готово"],
      [/^wait for/, "ждёт своей очереди"], [/^process deliver/, "исполнитель показывает картинку"],
      [/^(send|edit|delete|answer|get|set|create|refund|leave)[A-Z]/, "вызов Telegram"], [/^POST/, "просит по HTTP"],
      [/^GET/, "смотрит или берёт по HTTP"],
    ],
  };
  const WORDS = {
    en: { server: "something arrives", client: "a call to others", producer: "a message is sent", consumer: "a message is handled",
      internal: "a stretch of time", live: "live", waiting: "Waiting for the first spans…", count: (n) => `${n} ${n === 1 ? "span" : "spans"}` },
    ru: { server: "что-то приходит", client: "вызов других", producer: "сообщение отправлено", consumer: "сообщение обработано",
      internal: "отрезок времени", live: "идёт", waiting: "Жду первых шагов…", count: (n) => `шагов: ${n}` },
  };
  const language = () => (document.documentElement.lang === "ru" ? "ru" : "en");
  const plain = (name) => PLAIN[language()].find(([pattern]) => pattern.test(name))?.[1] || "";

  function legend(trace) {
    const made = element("ul", "wf-legend");
    for (const kind of KINDS.filter((one) => trace.spans.some((span) => span.kind === one))) {
      const item = element("li");
      const mark = element("i");
      mark.style.setProperty("--kind", `var(--${kind})`);
      item.append(mark, WORDS[language()][kind]);
      made.append(item);
    }
    return made;
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function duration(ms) {
    if (ms < 1) return `${Math.max(0, ms * 1000).toFixed(0)} µs`;
    if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
    return ms < 60000 ? `${(ms / 1000).toFixed(2)} s` : `${Math.floor(ms / 60000)} min ${((ms / 1000) % 60).toFixed(0)} s`;
  }

  // Depth first, children by start. Under a missing parent stands what the span links to, as in Jaeger.
  function asTree(spans) {
    const byId = new Map(spans.map((span) => [span.span_id, span]));
    const children = new Map();
    const roots = [];
    for (const span of spans) {
      const parent = [span.parent_id, ...span.links].find((id) => id && id !== span.span_id && byId.has(id));
      if (parent) children.set(parent, [...(children.get(parent) || []), span]);
      else roots.push(span);
    }
    const rows = [];
    const seen = new Set();
    const walk = (span, depth) => {
      if (seen.has(span)) return;
      seen.add(span);
      rows.push({ span, depth });
      for (const child of children.get(span.span_id) || []) walk(child, depth + 1);
    };
    roots.forEach((root) => walk(root, 0));
    spans.forEach((span) => walk(span, 0)); // what only a circle of references holds
    return rows;
  }

  function table(pairs) {
    const made = element("table");
    for (const [key, value] of pairs) {
      const row = element("tr");
      row.append(element("td", "", key), element("td", "", typeof value === "string" ? value : JSON.stringify(value)));
      made.append(row);
    }
    return made;
  }

  function details(span) {
    const box = element("div", "wf-open");
    box.append(table([
      ["kind", span.kind], ["service", span.service], ["start", `+${duration(span.start_ms)}`], ["duration", duration(span.duration_ms)],
      ...(span.status === "unset" ? [] : [["status", `${span.status} ${span.status_message}`.trim()]]),
      ...Object.entries(span.attributes).sort(([a], [b]) => a.localeCompare(b)), ["span id", span.span_id]]));
    for (const event of span.events) {
      box.append(element("h4", "", `${event.name}  +${duration(event.at_ms - span.start_ms)}`), table(Object.entries(event.attributes)));
    }
    return box;
  }

  // What an HTTP request is for stands in its path; its name is only the method.
  function place(span) {
    try {
      return new URL(span.attributes["url.full"]).pathname;
    } catch {
      return "";
    }
  }

  function row({ span, depth }, whole, opened, toggle) {
    const made = element("button", `wf-row${span.status === "error" ? " wf-error" : ""}`);
    made.type = "button";
    made.dataset.span = span.span_id;
    made.setAttribute("aria-expanded", String(opened));
    made.style.setProperty("--kind", `var(--${KINDS.includes(span.kind) ? span.kind : "internal"})`);
    const name = element("div", "wf-name");
    name.style.paddingLeft = `${Math.min(depth, 8) * 12}px`;
    name.append(element("i"), element("span", "", span.name), element("small", "", [plain(span.name), place(span)].filter(Boolean).join(" · ")));
    name.title = `${span.name} · ${span.kind} · ${span.service}`;
    const track = element("div", "wf-track");
    const left = (span.start_ms / whole) * 100;
    const width = Math.max(0, (span.duration_ms / whole) * 100);
    const bar = element("div", "wf-bar");
    bar.style.left = `min(${left}%, calc(100% - 3px))`;
    bar.style.width = `${Math.min(width, 100 - left)}%`;
    track.append(bar);
    for (const event of span.events) {
      const tick = element("div", "wf-tick");
      tick.style.left = `min(${(event.at_ms / whole) * 100}%, calc(100% - 2px))`;
      tick.title = event.name;
      track.append(tick);
    }
    made.append(name, track, element("div", "wf-time", duration(span.duration_ms)));
    made.addEventListener("click", () => toggle(span.span_id));
    return made;
  }

  function head(trace) {
    const made = element("div", "wf-head");
    const json = element("a", "", "Jaeger JSON");
    json.href = `/traces/${trace.trace_id}.json`;
    json.download = `trace-${trace.trace_id}.json`;
    const page = element("a", "", trace.trace_id.slice(0, 8));
    page.href = `/traces/${trace.trace_id}`;
    page.title = trace.trace_id;
    made.append(element("b", "", trace.name), element("span", "", duration(trace.duration_ms)),
      element("span", "wf-dim", `${WORDS[language()].count(trace.span_count)} · ${trace.services.join(", ")}`), page, json);
    if (!trace.finished) made.append(element("span", "wf-live", WORDS[language()].live));
    return made;
  }

  window.renderWaterfall = function renderWaterfall(target, traceId) {
    if (!document.getElementById("wf-style")) {
      const style = element("style", "", STYLE);
      style.id = "wf-style";
      document.head.append(style);
    }
    const root = element("div", "wf");
    target.replaceChildren(root);
    root.append(element("div", "wf-note", WORDS[language()].waiting));

    const opened = new Set();
    let trace = null;
    let shown = "";
    let timer = 0;
    let stopped = false;
    let quiet = 0;

    function toggle(id) {
      if (!opened.delete(id)) opened.add(id);
      draw();
    }

    function draw() {
      const focused = root.contains(document.activeElement) ? document.activeElement.dataset.span : null;
      const whole = Math.max(trace.duration_ms, 0.001);
      const parts = [head(trace), legend(trace)];
      for (const line of asTree(trace.spans)) {
        const open = opened.has(line.span.span_id);
        parts.push(row(line, whole, open, toggle));
        if (open) parts.push(details(line.span));
      }
      root.replaceChildren(...parts);
      if (focused) root.querySelector(`[data-span="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }

    async function refresh() {
      try {
        const answer = await fetch(`/traces/api/${encodeURIComponent(traceId)}`, { cache: "no-store" });
        if (answer.ok) {
          const text = await answer.text();
          quiet = text === shown ? quiet + 1 : 0;
          if (text !== shown && !stopped) {
            shown = text;
            trace = JSON.parse(text);
            draw();
          }
        } else quiet += 1;
      } catch {
        quiet += 1; // the receiver is away for a moment
      }
      // A finished trace may still get a late batch, so a few more looks; an unfinished one, slower over time.
      const done = trace?.finished && quiet >= 3;
      if (!stopped && !done && quiet < 600) timer = setTimeout(refresh, quiet < 20 ? 1000 : 5000);
    }

    refresh();
    return () => {
      stopped = true;
      clearTimeout(timer);
      root.remove();
    };
  };
})();
