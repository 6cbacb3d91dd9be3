// Draws messages: bubbles, albums as mosaics, files, inline keyboards. Knows nothing of the network.

import { renderText } from "/page/markup.js";

export const fileUrl = (file) => `/sandbox/files/${encodeURIComponent(file.file_unique_id)}`;

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Sizes of the rows of a mosaic, by how many pictures it has.
const ROWS = [[], [1], [2], [1, 2], [2, 2], [2, 3], [3, 3], [2, 2, 3], [2, 3, 3], [3, 3, 3], [3, 3, 4]];
const FILES = ["document", "video", "animation", "audio", "voice"];
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const plainText = (message) => message.text || message.caption || "";

export function preview(message, labels) {
  if (plainText(message)) return plainText(message);
  if (message.photo) return labels.photo;
  if (message.sticker) return `${message.sticker.emoji || ""} ${labels.sticker}`;
  if (message.invoice) return message.invoice.title;
  if (message.successful_payment) return `${labels.paid} ⭐ ${message.successful_payment.total_amount}`;
  if (message.refunded_payment) return `${labels.refunded} ⭐ ${message.refunded_payment.total_amount}`;
  return message.document ? message.document.file_name || labels.file : labels.unsupported;
}

// Messages of one album become one group; every other message is a group of its own.
export function grouped(messages) {
  const groups = [];
  for (const message of messages) {
    const last = groups.at(-1);
    if (message.media_group_id && last && last.album === message.media_group_id) last.messages.push(message);
    else groups.push({ key: `m${message.message_id}`, album: message.media_group_id, messages: [message] });
  }
  return groups;
}

function mosaic(messages, actions, labels) {
  const photos = messages.filter((message) => message.photo);
  const box = make("div", photos.length > 1 ? "mosaic album" : "mosaic");
  const queue = [...photos];
  for (const count of ROWS[photos.length] || []) {
    const row = make("div", "row");
    let sum = 0;
    for (const message of queue.splice(0, count)) {
      const size = message.photo.at(-1);
      const ratio = Math.min(2.4, Math.max(photos.length > 1 ? 0.66 : 0.45, size.width / size.height));
      sum += ratio;
      const button = make("button", message.has_media_spoiler ? "picture hidden-picture" : "picture");
      button.type = "button";
      button.style.flex = `${ratio} 1 0`;
      const image = make("img");
      image.src = fileUrl(size);
      image.alt = plainText(message);
      if (!image.alt) button.setAttribute("aria-label", labels.photo);
      image.decoding = "async";
      button.append(image);
      button.addEventListener("click", () => {
        if (button.classList.contains("hidden-picture")) button.classList.remove("hidden-picture");
        else actions.view(fileUrl(size));
      });
      row.append(button);
    }
    row.style.aspectRatio = String(sum);
    if (photos.length === 1) {
      const size = photos[0].photo.at(-1);
      box.style.maxWidth = `${Math.max(200, Math.min(430, size.width, 430 * Math.min(1, sum * 1.15)))}px`;
    }
    box.append(row);
  }
  return box;
}

function fileSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

function fileCard(file, labels) {
  const name = file.file_name || labels.file;
  const link = make("a", "file");
  link.href = fileUrl(file);
  link.download = name;
  if ((file.mime_type || "").startsWith("image/")) {
    const thumb = make("img", "icon-disc");
    thumb.src = link.href;
    thumb.alt = "";
    link.append(thumb);
  } else {
    link.append(make("span", "icon-disc", "↓"));
  }
  const words = make("span", "file-words");
  words.append(make("b", "", name), make("small", "", fileSize(file.file_size || 0)));
  link.append(words);
  return link;
}

function sticker(message) {
  const box = make("div", "sticker");
  const image = make("img");
  image.src = fileUrl(message.sticker);
  image.alt = message.sticker.emoji || "";
  image.addEventListener("error", () => box.replaceChildren(message.sticker.emoji || "🖼"));
  box.append(image);
  return box;
}

function quote(original, labels, actions, me) {
  const box = make("button", "quote");
  box.type = "button";
  box.append(make("b", "", original.from.id === me ? labels.you : original.from.first_name));
  const words = make("span", "", preview(original, labels));
  words.dir = "auto";
  box.append(words);
  if (original.photo) {
    const thumb = make("img");
    thumb.src = fileUrl(original.photo[0]);
    thumb.alt = "";
    box.prepend(thumb);
  }
  box.addEventListener("click", () => actions.jump(original.message_id));
  return box;
}

function invoice(message) {
  const box = make("div", "words");
  box.append(make("b", "", message.invoice.title), document.createElement("br"), message.invoice.description);
  return box;
}

// Telegram puts a button of its own under an invoice that has none.
function keysOf(message, labels) {
  const given = message.reply_markup?.inline_keyboard;
  if (given || !message.invoice) return given;
  return [[{ text: `${labels.pay} ⭐ ${message.invoice.total_amount}`, pay: true }]];
}

function keyboard(rows, message, actions, pressed) {
  const box = make("div", "keyboard");
  for (const buttons of rows) {
    const row = make("div", "keys");
    for (const key of buttons) {
      const button = make("button", "key", key.text);
      button.type = "button";
      const id = `${message.message_id}:${key.callback_data}`;
      if (key.url && !actions.inside(key.url)) button.classList.add("away");
      if (pressed.has(id)) button.classList.add("pressed");
      button.addEventListener("click", () => {
        if (key.callback_data !== undefined) actions.tap(message, key.callback_data, id);
        else if (key.pay) actions.pay({ message_id: message.message_id }, message.invoice.title, key.text);
        else if (key.url) actions.open(key.url, key.text);
        else if (key.web_app) actions.app(key.web_app.url, key.text);
        else if (key.copy_text) actions.copy(key.copy_text.text);
        else if (key.switch_inline_query_current_chat !== undefined)
          actions.inline(key.switch_inline_query_current_chat);
      });
      row.append(button);
    }
    box.append(row);
  }
  return box;
}

// `me`: whose page it is; `named`: each of the others' messages says whose it is.
export function drawGroup(group, { labels, actions, pressed, position, me, named }) {
  const first = group.messages[0];
  const own = first.from.id === me;
  const item = make("article", `message ${own ? "own" : "theirs"} ${position}`);
  item.dataset.key = group.key;
  item.dataset.messageId = first.message_id;
  const bubble = make("div", "bubble");
  if (named && !own) bubble.append(make("span", "sender", first.from.first_name));
  if (first.reply_to_message) bubble.append(quote(first.reply_to_message, labels, actions, me));

  const hasPhoto = group.messages.some((message) => message.photo);
  if (hasPhoto) bubble.append(mosaic(group.messages, actions, labels));
  for (const message of group.messages) {
    if (message.sticker) bubble.append(sticker(message));
    const kind = FILES.find((name) => message[name]);
    if (kind) bubble.append(fileCard(message[kind], labels));
  }
  const texts = group.messages.filter(plainText);
  for (const message of texts) {
    const words = make("div", "words");
    words.dir = "auto";
    words.append(renderText(plainText(message), message.entities || message.caption_entities, actions.command));
    bubble.append(words);
  }
  if (first.invoice) bubble.append(invoice(first));
  const known = hasPhoto || texts.length || first.sticker || first.invoice || FILES.some((kind) => first[kind]);
  if (!known) bubble.append(make("div", "words dim", preview(first, labels)));

  const last = group.messages.at(-1);
  const meta = make("span", "meta");
  if (group.messages.some((message) => message.edit_date) && !last.reply_markup) meta.append(`${labels.edited} `);
  const time = make("time", "", CLOCK.format(first.date * 1000));
  time.dateTime = new Date(first.date * 1000).toISOString();
  meta.append(time);
  bubble.append(meta);
  if (hasPhoto && !texts.length) bubble.classList.add("bare");
  if (hasPhoto) bubble.classList.add("with-photo");
  if (first.sticker) bubble.classList.add("with-sticker");
  const reaction = group.messages.find((message) => message.reaction);
  if (reaction) bubble.append(make("span", "reaction", reaction.reaction));
  item.append(bubble);
  for (const message of group.messages) {
    const rows = keysOf(message, labels);
    if (rows) item.append(keyboard(rows, message, actions, pressed));
  }
  const reply = make("button", "icon quick");
  reply.type = "button";
  const touched = matchMedia("(hover: none)").matches;
  reply.title = touched ? labels.actions : labels.reply;
  reply.setAttribute("aria-label", reply.title);
  reply.textContent = touched ? "⋯" : "↩";
  reply.addEventListener("click", (event) => {
    if (touched) actions.menu(first, event.clientX, event.clientY);
    else actions.reply(first);
  });
  item.append(reply);
  item.addEventListener("contextmenu", (event) => {
    if (event.target.closest("a")) return;
    event.preventDefault();
    actions.menu(first, event.clientX, event.clientY);
  });
  item.addEventListener("click", (event) => {
    const link = event.target.closest("a[target]");
    if (link && actions.inside(link.href)) {
      event.preventDefault();
      actions.open(link.href);
    }
    if (!event.target.closest("button, a")) actions.trace(first);
  });
  return item;
}
