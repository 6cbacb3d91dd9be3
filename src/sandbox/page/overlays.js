// What lies over the page for a moment: toasts, menus; and the avatars people are chosen by.

import { make } from "/page/bubbles.js";

const TOAST_SHOWN = 3500;
const HUES = [212, 268, 338, 24, 158, 190, 96, 300];

export function toast(text) {
  const element = make("div", "toast", text);
  element.dir = "auto";
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), TOAST_SHOWN);
}

export function avatarOf(person) {
  const button = make("button", "avatar", [...person.first_name][0]?.toUpperCase() || "?");
  button.type = "button";
  const hue = HUES[person.id % HUES.length];
  button.style.background = `linear-gradient(160deg, hsl(${hue} 82% 66%), hsl(${hue + 24} 70% 50%))`;
  button.setAttribute("aria-label", person.first_name);
  return button;
}

let closeOpen = () => {};
export const closeMenu = () => closeOpen();

// Items: {text, run, danger?, checked?, badge?}; placed at x, y but always inside the window.
export function openMenu(items, x, y) {
  closeMenu();
  const menu = make("div", "menu");
  menu.setAttribute("role", "menu");
  for (const item of items) {
    const button = make("button", item.danger ? "danger" : "", item.text);
    button.type = "button";
    button.setAttribute("role", "menuitem");
    if (item.checked) button.classList.add("checked");
    if (item.badge) button.append(make("b", "badge", String(item.badge)));
    button.addEventListener("click", () => {
      closeMenu();
      item.run();
    });
    menu.append(button);
  }
  document.body.append(menu);
  menu.style.left = `${Math.max(8, Math.min(x, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(y, innerHeight - menu.offsetHeight - 8))}px`;
  menu.querySelector("button").focus({ preventScroll: true });
  const outside = (event) => menu.contains(event.target) || closeMenu();
  const escape = (event) => event.key === "Escape" && closeMenu();
  closeOpen = () => {
    menu.remove();
    removeEventListener("pointerdown", outside, true);
    removeEventListener("keydown", escape, true);
    closeOpen = () => {};
  };
  addEventListener("pointerdown", outside, true);
  addEventListener("keydown", escape, true);
}

// A Mini App in a window of its own. What it asks of Telegram goes to `told`, by the bridge of Telegram's own apps, which
// /web/ puts into its page.
export function showApp(address, title, labels, told) {
  const dialog = document.getElementById("app");
  const frame = make("iframe", "coming");
  const heading = dialog.querySelector("h2");
  frame.title = title;
  heading.textContent = labels.connecting;
  const note = make("p", "trace-note", labels.appStarts);
  dialog.querySelector("button").setAttribute("aria-label", labels.close);
  dialog.append(note, frame);
  window.telegram = { postEvent: (kind, data) => told(kind, JSON.parse(data || "null") || {}) };
  frame.addEventListener("load", () => {
    note.remove();
    frame.className = "";
    heading.textContent = title;
  });
  frame.src = address;
  dialog.addEventListener("close", () => [note, frame].forEach((one) => one.remove()), { once: true });
  dialog.showModal();
}
