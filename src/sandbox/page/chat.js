// The chat page: one person's conversation with the bot, live. State here, drawing in bubbles.js.

import { drawGroup, grouped, make, plainText, preview } from "/page/bubbles.js";
import { labelsFor } from "/page/labels.js";
import { avatarOf, closeMenu, openMenu, showApp, toast } from "/page/overlays.js";
import { api, listen } from "/page/sandbox.js";
import { TracePanel } from "/page/trace.js";
import { Writer } from "/page/writer.js";

const $ = (id) => document.getElementById(id);
const NEAR_BOTTOM = 140;
const ACTION_SHOWN = 5500;
const ANSWER_WITHIN = 15000;
const REMEMBERED = "sandbox-person";
// The colours that a Mini App is told, by Telegram's names and this page's.
const COLOURS = {
  bg_color: "--paper", secondary_bg_color: "--hover", text_color: "--ink", hint_color: "--dim", link_color: "--link",
  button_color: "--accent", button_text_color: "--accent-ink",
};

let labels = labelsFor(navigator.language);
let person = null;
// {id, title, role} of the group that is shown; null: the chat with the bot.
let room = null;
let people = [];
let bot = { first_name: "Image Bot" };
let messages = new Map();
let closeStream = () => {};
let connection = "connecting";
let action = "";
let actionTimer = 0;
let unseen = 0;
const unread = new Map();
const pressed = new Set();
const queries = new Map();
// Taps whose answer came before their number did.
const answered = new Set();
const here = (path) => `people/${person.id}${path}${room ? `?chat=${room.id}` : ""}`;
const trace = new TracePanel($("trace-body"), $("trace-about"));

const actions = {
  view(url) {
    $("viewer").querySelector("img").src = url;
    $("viewer").showModal();
  },
  async tap(message, data, id) {
    if (pressed.has(id)) return;
    pressed.add(id);
    render();
    const release = () => pressed.delete(id) && render();
    try {
      const sent = await api("POST", here("/taps"), { message_id: message.message_id, data });
      if (answered.delete(sent.query_id)) release();
      else queries.set(sent.query_id, release);
      trace.show(sent.update_id, labelOf(message, data), labels);
      setTimeout(() => {
        if (!queries.delete(sent.query_id)) return;
        release();
        toast(labels.noAnswer);
      }, ANSWER_WITHIN);
    } catch (error) {
      release();
      toast(labels.failed + error.message);
    }
  },
  inline(words) {
    writer.type(`@${bot.username} ${words}`);
  },
  // What Telegram opens itself: an invoice by its link, and the chat with this bot.
  inside(url) {
    const found = new URL(url, "https://t.me");
    return found.hostname === "t.me" && (found.pathname.startsWith("/$") || found.pathname === `/${bot.username}`);
  },
  open(url, words = "") {
    const { pathname, searchParams } = new URL(url, "https://t.me");
    if (!/^https?:/i.test(url)) return;
    if (!actions.inside(url)) window.open(url, "_blank", "noopener");
    else if (pathname.startsWith("/$")) actions.pay({ link: url }, words, labels.pay);
    else {
      become(person);
      writer.send(`/start ${searchParams.get("start") || ""}`.trim());
    }
  },
  async app(url, title) {
    const colour = getComputedStyle(document.documentElement);
    const colours = Object.fromEntries(
      Object.entries(COLOURS).map(([name, own]) => [name, colour.getPropertyValue(own).trim()]),
    );
    try {
      const { pathname, search, hash } = new URL((await api("POST", here("/web_app"), { url, colours })).url);
      // Its host is this machine: /web/ is what stands there.
      showApp(`/web${pathname}${search}${hash}`, title, labels, (kind, data) => {
        if (kind === "web_app_close" || kind === "web_app_open_tg_link") $("app").close();
        if (kind === "web_app_open_tg_link") actions.open(`https://t.me${data.path_full}`);
      });
    } catch (error) {
      toast(labels.failed + error.message);
    }
  },
  async pay(what, title, button) {
    if (!(await askToPay(title, button))) return;
    try {
      const { outcome } = await api("POST", here("/payments"), what);
      if (outcome === "paid") toast(labels.paid);
      else showAlert(outcome);
    } catch (error) {
      toast(labels.failed + error.message);
    }
  },
  async copy(text) {
    await navigator.clipboard.writeText(text);
    toast(labels.copied);
  },
  command: (text) => writer.send(text),
  reply: (message) => writer.replyTo(message),
  jump(messageId) {
    const group = grouped([...messages.values()]).find((one) => one.messages.some((m) => m.message_id === messageId));
    const item = group && $("messages").querySelector(`[data-key="${group.key}"]`);
    if (!item) return;
    item.scrollIntoView({ block: "center", behavior: "smooth" });
    item.classList.remove("flash");
    requestAnimationFrame(() => item.classList.add("flash"));
  },
  trace: (message) => showTrace(message),
  menu(message, x, y) {
    const items = [{ text: labels.reply, run: () => writer.replyTo(message) }];
    if (plainText(message)) items.push({ text: labels.copy, run: () => actions.copy(plainText(message)) });
    items.push({ text: labels.trace, run: () => showTrace(message, true) });
    items.push({
      text: labels.remove,
      danger: true,
      run: () => api("DELETE", here(`/messages/${message.message_id}`)).catch(() => {}),
    });
    openMenu(items, x, y);
  },
};

const writer = new Writer({
  labels: () => (room ? { ...labels, write: labels.writeGroup } : labels),
  prompts: () => (room ? ["/imagine ", `@${bot.username} `].map((to, at) => to + labels.prompts[at]).concat("/rules") : labels.prompts),
  commands: () => person?.commands || [],
  menu() {
    const { type, text, web_app: app } = (!room && person?.menu_button) || {};
    return type === "web_app" ? { text, open: () => actions.app(app.url, text) } : null;
  },
  bot: () => bot?.username || "",
  ask: (words) => api("POST", here("/inline"), { query: words }),
  async take(query, result) {
    const sent = await api("POST", here(`/inline/${query}`), { result });
    scrollDown();
    trace.show(sent.update_id, preview(sent, labels), labels);
  },
  async send({ text, photo, replyTo }) {
    const form = new FormData();
    form.set("text", text);
    if (photo) form.set("photo", photo, photo.name || "photo.png");
    if (replyTo) form.set("reply_to", String(replyTo.message_id));
    const sent = await api("POST", here("/messages"), form);
    scrollDown();
    if (sent.update_id) trace.show(sent.update_id, preview(sent, labels), labels);
    else trace.say(labels.unseen);
  },
});

const labelOf = (message, data) =>
  message.reply_markup?.inline_keyboard.flat().find((key) => key.callback_data === data)?.text || data;

// What a message came of: itself where its update is known (a tap's, for what was made by one), or else the person's
// message that it answers, or the last before it.
function asked(message) {
  if (!message.from.is_bot || message.update_id) return message;
  const original = message.reply_to_message && messages.get(message.reply_to_message.message_id);
  if (original && !original.from.is_bot) return original;
  return [...messages.values()].filter((one) => !one.from.is_bot && one.message_id < message.message_id).at(-1);
}

function showTrace(message, open = false) {
  const source = asked(message);
  if (source?.update_id) trace.show(source.update_id, preview(source, labels), labels);
  if (open) document.body.dataset.view = "trace";
}

// Drawing

function positions(groups) {
  const sameRun = (a, b) =>
    a && b && a.messages[0].from.id === b.messages[0].from.id && Math.abs(b.messages[0].date - a.messages[0].date) < 300;
  return groups.map((group, index) => {
    const start = !sameRun(groups[index - 1], group);
    const end = !sameRun(group, groups[index + 1]);
    return `${start ? "run-start" : ""} ${end ? "run-end" : ""}`.trim();
  });
}

const dayOf = (seconds) => new Date(seconds * 1000).toDateString();

function dayMark(seconds) {
  const today = dayOf(seconds) === new Date().toDateString();
  const format = new Intl.DateTimeFormat(person.language_code, { day: "numeric", month: "long" });
  return make("div", "day", today ? labels.today : format.format(seconds * 1000));
}

function render() {
  const list = $("messages");
  const log = $("log");
  const stick = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_BOTTOM;
  const known = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const groups = grouped([...messages.values()].sort((a, b) => a.message_id - b.message_id));
  const place = positions(groups);
  const wanted = [];
  let day = "";
  groups.forEach((group, index) => {
    const first = group.messages[0];
    if (dayOf(first.date) !== day) {
      day = dayOf(first.date);
      wanted.push([`day ${day} ${person.language_code}`, "", () => dayMark(first.date)]);
    }
    const state = group.messages.map((m) => [
      m.message_id, m.revision, m.reaction, [...pressed].filter((id) => id.startsWith(`${m.message_id}:`)),
    ]);
    const signature = JSON.stringify([state, place[index], person.language_code]);
    const options = { labels, actions, pressed, position: place[index], me: person.id, named: Boolean(room) };
    wanted.push([group.key, signature, () => drawGroup(group, options)]);
  });
  let at = list.firstChild;
  for (const [key, signature, draw] of wanted) {
    const old = known.get(key);
    known.delete(key);
    let element = old;
    if (!old || old.dataset.signature !== signature) {
      element = draw();
      element.dataset.key = key;
      element.dataset.signature = signature;
      if (old) {
        if (at === old) at = old.nextSibling;
        if (!old.querySelector(".picture")) element.classList.add("reveal");
        old.remove();
      } else {
        element.classList.add("new");
      }
    }
    if (element === at) at = at.nextSibling;
    else list.insertBefore(element, at);
  }
  for (const gone of known.values()) gone.remove();
  $("welcome").hidden = messages.size > 0;
  if (stick) scrollDown();
  showUnseen();
}

function scrollDown() {
  const log = $("log");
  log.scrollTop = log.scrollHeight;
  unseen = 0;
  showUnseen();
}

function showUnseen() {
  const log = $("log");
  const far = log.scrollHeight - log.scrollTop - log.clientHeight > NEAR_BOTTOM;
  if (!far) unseen = 0;
  $("down").hidden = !far;
  $("unread").textContent = unseen ? String(unseen) : "";
}

function drawStatus() {
  const status = $("status");
  const idle = person?.blocked && !room ? labels.blocked : labels[room ? room.role : "online"];
  const word = connection === "online" ? idle : labels[connection];
  status.textContent = connection === "online" && action ? action : word;
  status.className = connection === "online" && action ? "acting" : connection;
}

function drawLabels() {
  document.documentElement.lang = labels === labelsFor("ru") ? "ru" : "en";
  $("bot-name").textContent = room ? room.title : bot.first_name;
  document.title = bot.first_name;
  $("welcome-title").textContent = room ? labels.welcomeGroup : labels.welcome;
  $("welcome-text").textContent = room ? labels.groupText : bot.description || labels.welcomeText;
  $("start").textContent = labels.start;
  $("start").hidden = Boolean(room);
  $("chats").title = labels.chats;
  $("note").textContent = room ? labels.groupText : labels.note;
  $("trace-title").textContent = labels.traceTitle;
  $("unblock").textContent = labels.unblock;
  for (const [id, text] of [["show-trace", labels.trace], ["show-chat", labels.toChat], ["people", labels.people], ["down", labels.newMessages], ["commands", labels.choices]]) {
    $(id).setAttribute("aria-label", text);
  }
  for (const button of $("languages").children) {
    button.setAttribute("aria-pressed", String(labels === labelsFor(button.dataset.language)));
  }
  const silent = Boolean(person?.blocked) && !room;
  $("unblock").hidden = !silent;
  $("form").hidden = $("chips").hidden = silent;
  writer.draw();
  drawStatus();
}

function drawPeople() {
  const rail = $("people");
  rail.replaceChildren();
  for (const one of people) {
    const button = avatarOf(one);
    button.title = one.first_name;
    button.setAttribute("aria-current", String(one.id === person?.id));
    if (unread.get(one.id)) button.append(make("b", "badge", String(unread.get(one.id))));
    button.addEventListener("click", () => (one.id === person?.id ? personMenu(button) : become(one)));
    rail.append(button);
  }
  const add = make("button", "avatar add", "+");
  add.type = "button";
  add.title = labels.newPerson;
  add.addEventListener("click", addPerson);
  rail.append(add);
  if (person) {
    const mine = avatarOf(person);
    $("switch").textContent = mine.textContent;
    $("switch").style.background = mine.style.background;
    $("switch").setAttribute("aria-label", `${labels.people}: ${person.first_name}`);
    const waiting = people.some((one) => one.id !== person.id && unread.get(one.id));
    $("switch").classList.toggle("waiting", waiting);
  }
}

function personMenu(anchor, withPeople = false) {
  const items = withPeople
    ? people.map((one) => ({
        text: one.first_name,
        badge: unread.get(one.id),
        checked: one.id === person.id,
        run: () => become(one),
      }))
    : [];
  if (withPeople) items.push({ text: labels.newPerson, run: addPerson });
  items.push({
    text: person.blocked ? labels.unblock : labels.blockBot,
    danger: !person.blocked,
    run: () => change({ blocked: !person.blocked }),
  });
  const box = anchor.getBoundingClientRect();
  openMenu(items, box.left, box.bottom + 6);
}

function chatMenu() {
  const roles = { null: labels.alone, member: labels.asMember, administrator: labels.asAdmin };
  const items = Object.entries(roles).map(([role, text]) => ({
    text,
    checked: role === String(room?.role ?? null),
    run: () => (role === "null" ? become(person) : joinGroup(role)),
  }));
  const box = $("chats").getBoundingClientRect();
  openMenu(items, box.left, box.bottom + 6);
}

// A group for each role: what somebody is in a group, a bot may remember for minutes.
async function joinGroup(role) {
  const title = role === "member" ? labels.friends : labels.ownFriends;
  try {
    const joined = await api("POST", `people/${person.id}/group`, { role, title });
    become(person, { ...joined, role });
  } catch (error) {
    toast(labels.failed + error.message);
  }
}

// People

async function addPerson() {
  const taken = new Set(people.map((one) => one.first_name));
  const name = labels.names.find((one) => !taken.has(one)) || `${labels.names[0]} ${people.length + 1}`;
  const language = labels === labelsFor("ru") ? "ru" : "en";
  const made = await api("POST", "people", { first_name: name, language_code: language });
  people.push(made);
  become(made);
}

const change = async (what) => refresh(await api("PATCH", here(""), what));

function refresh(changed) {
  person = changed;
  people = people.map((one) => (one.id === changed.id ? changed : one));
  labels = labelsFor(changed.language_code);
  drawLabels();
  drawPeople();
  render();
}

function become(one, where = null) {
  if (person?.id === one.id && room?.id === where?.id && room?.role === where?.role) return;
  closeStream();
  closeMenu();
  person = one;
  room = where;
  labels = labelsFor(one.language_code);
  localStorage.setItem(REMEMBERED, String(one.id));
  unread.delete(one.id);
  messages = new Map();
  $("messages").replaceChildren();
  connection = "connecting";
  showAction("");
  writer.clear();
  drawLabels();
  drawPeople();
  trace.say(labels.traceEmpty);
  closeStream = listen(here("/events"), {
    state(now) {
      connection = now;
      drawStatus();
    },
    snapshot(data) {
      bot = data.bot;
      messages = new Map(data.messages.map((message) => [message.message_id, message]));
      refresh(data.person);
      scrollDown();
      const last = data.messages.filter((message) => message.update_id).at(-1);
      if (last) showTrace(last);
    },
    message(message) {
      const fresh = !messages.has(message.message_id);
      messages.set(message.message_id, message);
      if (fresh && message.from.is_bot) {
        unseen += 1;
        showAction("");
      }
      render();
    },
    edited: (message) => messages.set(message.message_id, message) && render(),
    reaction: (message) => messages.set(message.message_id, message) && render(),
    deleted: (message) => messages.delete(message.message_id) && render(),
    answer(data) {
      const release = queries.get(data.query_id);
      if (!queries.delete(data.query_id)) answered.add(data.query_id);
      release?.();
      if (data.url) actions.open(data.url);
      if (data.text && data.show_alert) showAlert(data.text);
      else if (data.text) toast(data.text);
    },
    action: (data) => showAction(labels[data.action] || labels.typing),
    async person() {
      people = await api("GET", "people");
      refresh(people.find((known) => known.id === person.id) || person);
    },
    activity(data) {
      if (!people.some((known) => known.id === data.chat_id)) return;
      unread.set(data.chat_id, (unread.get(data.chat_id) || 0) + 1);
      drawPeople();
    },
  });
}

function showAction(text) {
  clearTimeout(actionTimer);
  action = text;
  if (text) actionTimer = setTimeout(() => showAction(""), ACTION_SHOWN);
  drawStatus();
}

function showAlert(text) {
  const dialog = $("alert");
  dialog.querySelector("p").textContent = text;
  dialog.querySelector("button").textContent = labels.ok;
  dialog.showModal();
}

// The form that Telegram shows before it takes any stars; whether Pay was pressed.
function askToPay(title, button) {
  const dialog = $("pay");
  const [pay, cancel] = dialog.querySelectorAll("button");
  dialog.querySelector("p").textContent = title;
  pay.textContent = button;
  cancel.textContent = labels.cancel;
  dialog.showModal();
  // Not by `close`, which comes later, perhaps when the form is open for something else.
  return new Promise((done) => {
    pay.onclick = () => done(true);
    cancel.onclick = dialog.oncancel = () => done(false);
  });
}

// Start

$("log").addEventListener("scroll", showUnseen, { passive: true });
$("down").addEventListener("click", scrollDown);
$("start").addEventListener("click", () => writer.send("/start"));
$("unblock").addEventListener("click", () => change({ blocked: false }));
$("chats").addEventListener("click", chatMenu);
$("switch").addEventListener("click", () => personMenu($("switch"), true));
$("viewer").addEventListener("click", () => $("viewer").close());
$("show-trace").addEventListener("click", () => (document.body.dataset.view = "trace"));
$("show-chat").addEventListener("click", () => (document.body.dataset.view = "chat"));
$("languages").addEventListener("click", (event) => {
  if (event.target.dataset.language) change({ language_code: event.target.dataset.language });
});

drawLabels();
people = await api("GET", "people");
const wanted = Number(new URLSearchParams(location.search).get("person") || localStorage.getItem(REMEMBERED));
const remembered = people.find((one) => one.id === wanted) || people[0];
if (remembered) become(remembered);
else await addPerson();
