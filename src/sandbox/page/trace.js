// The panel beside the chat: the trace of the update a message or a tap reached the bot as.
// Drawn by /traces/waterfall.js, where the sandbox serves it.

import { make } from "/page/bubbles.js";

const TRIES = 20;
const PAUSE = 700;

let script;

function loadScript() {
  script ||= new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = "/traces/waterfall.js";
    element.onload = resolve;
    element.onerror = reject;
    document.head.append(element);
  });
  return script;
}

export class TracePanel {
  #body;
  #about;
  #stop = () => {};
  #shown = null;

  constructor(body, about) {
    this.#body = body;
    this.#about = about;
  }

  say(text) {
    this.#stop();
    this.#shown = null;
    this.#about.textContent = "";
    this.#body.replaceChildren(make("p", "trace-note", text));
  }

  // Shows the trace of an update; it may not have been exported yet, so it is asked for a few times.
  async show(updateId, about, labels) {
    if (!updateId || this.#shown === updateId) return;
    this.say(labels.traceWait);
    this.#shown = updateId;
    this.#about.textContent = about;
    try {
      await loadScript();
    } catch {
      this.say(labels.traceOff);
      return;
    }
    for (let attempt = 0; attempt < TRIES && this.#shown === updateId; attempt += 1) {
      const answer = await fetch(`/traces/api/by-update/${updateId}`, { cache: "no-store" }).catch(() => null);
      const found = answer?.ok ? (await answer.json()).trace_id : "";
      if (this.#shown !== updateId) return;
      if (found) {
        const place = make("div");
        this.#body.replaceChildren(place);
        const stop = window.renderWaterfall(place, found);
        this.#stop = typeof stop === "function" ? stop : () => {};
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    if (this.#shown === updateId) this.say(labels.traceNone);
  }
}
