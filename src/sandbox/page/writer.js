// Where the person writes: text, a photo with its preview, a reply, the command menu, hint prompts.

import { make, preview } from "/page/bubbles.js";
import { toast } from "/page/overlays.js";

const $ = (id) => document.getElementById(id);
// So long a client waits for the next key before it asks a bot.
const PAUSE = 250;

export class Writer {
  #given;
  #replyTo = null;
  #photo = null;
  #photoUrl = "";
  #sending = false;
  #chosen = 0;
  #asking = 0;

  // `given`: labels(), prompts(), commands(), menu() and bot() of the moment, send({text, photo, replyTo}); ask(words) and
  // take(query, result) of what the bot offers inline.
  constructor(given) {
    this.#given = given;
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    $("text").addEventListener("input", () => this.#typed());
    $("text").addEventListener("keydown", (event) => this.#key(event));
    $("text").addEventListener("blur", () => setTimeout(() => this.#list(false), 150));
    $("menu").addEventListener("click", () => {
      const app = this.#given.menu();
      if (app) {
        app.open();
        return;
      }
      const open = $("commands").hidden;
      $("text").focus();
      this.#list(open, "");
    });
    $("attach").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => this.attach($("file").files[0]));
    document.addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files][0];
      if (file) this.attach(file);
    });
    const chat = $("chat");
    chat.addEventListener("dragover", (event) => {
      event.preventDefault();
      chat.classList.add("dropping");
    });
    for (const end of ["dragleave", "drop"]) chat.addEventListener(end, () => chat.classList.remove("dropping"));
    chat.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.attach(event.dataTransfer.files[0]);
    });
  }

  async send(text = $("text").value) {
    const typed = text === $("text").value;
    if (this.#sending || (!text.trim() && !this.#photo)) return;
    this.#sending = true;
    try {
      await this.#given.send({ text, photo: this.#photo, replyTo: this.#replyTo });
      if (typed) $("text").value = "";
      this.clear(typed);
    } catch (error) {
      toast(this.#given.labels().failed + error.message);
    } finally {
      this.#sending = false;
    }
    this.#typed();
  }

  replyTo(message) {
    this.#replyTo = message;
    this.draw();
    $("text").focus();
  }

  attach(file) {
    $("file").value = "";
    if (!file) return;
    if (!file.type.startsWith("image/")) {
      toast(this.#given.labels().notPhoto);
      return;
    }
    this.#dropPhoto();
    this.#photo = file;
    this.#photoUrl = URL.createObjectURL(file);
    this.draw();
    $("text").focus();
  }

  clear(alsoText = true) {
    this.#replyTo = null;
    this.#dropPhoto();
    if (alsoText) $("text").value = "";
    this.draw();
  }

  draw() {
    const labels = this.#given.labels();
    $("text").placeholder = this.#photo ? labels.caption : labels.write;
    $("text").setAttribute("aria-label", $("text").placeholder);
    const app = this.#given.menu();
    for (const [id, text] of [["attach", labels.attach], ["send", labels.send], ["menu", app?.text || labels.menu]]) {
      $(id).title = text;
      $(id).setAttribute("aria-label", text);
    }
    $("menu").hidden = !app && !this.#given.commands().length;
    $("menu").firstChild.textContent = app ? "☰" : "/";
    $("chips").replaceChildren(
      ...this.#given.prompts().map((prompt) => {
        const chip = make("button", "chip", prompt);
        chip.type = "button";
        chip.addEventListener("click", () => this.send(prompt));
        return chip;
      }),
    );
    this.#drawContext(labels);
    this.#typed(false);
  }

  #drawContext(labels) {
    const box = $("context");
    box.replaceChildren();
    box.hidden = !this.#replyTo && !this.#photo;
    if (this.#replyTo) {
      const words = make("div", "context-words");
      words.append(make("b", "", labels.reply), make("span", "", preview(this.#replyTo, labels)));
      box.append(make("span", "context-mark", "↩"), words);
    }
    if (this.#photo) {
      const image = make("img");
      image.src = this.#photoUrl;
      image.alt = "";
      const words = make("div", "context-words");
      words.append(make("b", "", labels.photoReady), make("span", "", this.#photo.name || ""));
      box.append(image, words);
    }
    const close = make("button", "icon", "×");
    close.type = "button";
    close.title = labels.cancel;
    close.addEventListener("click", () => this.clear(false));
    box.append(close);
  }

  #dropPhoto() {
    if (this.#photoUrl) URL.revokeObjectURL(this.#photoUrl);
    this.#photo = null;
    this.#photoUrl = "";
  }

  #typed(withCommands = true) {
    const field = $("text");
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 160)}px`;
    $("send").classList.toggle("ready", Boolean(field.value.trim() || this.#photo));
    if (!withCommands) return;
    const [, name, words] = /^@(\w+) (.*)$/s.exec(field.value) || [];
    if (name?.toLowerCase() === this.#given.bot().toLowerCase()) this.#offer(words);
    else this.#list(/^\/\w*$/.test(field.value), field.value.slice(1));
  }

  type(text) {
    $("text").value = text;
    $("text").focus();
    this.#typed();
  }

  // As in any chat, where it would be sent; here it is sent in this one.
  #offer(words) {
    clearTimeout(this.#asking);
    this.#asking = setTimeout(async () => {
      const found = await this.#given.ask(words).catch(() => null);
      if (!found || !$("text").value.endsWith(words)) return;
      this.#rows(
        found.results.map((one) => ({
          label: one.title,
          hint: one.description,
          photo: one.photo,
          take: () => this.#given.take(found.query_id, one.id).catch((error) => toast(error.message)),
        })),
      );
    }, PAUSE);
  }

  #list(open, start = "") {
    clearTimeout(this.#asking);
    const found = open ? this.#given.commands().filter((one) => one.command.startsWith(start)) : [];
    this.#rows(
      found.map((one) => ({
        label: `/${one.command}`,
        hint: one.description,
        take: () => this.send(`/${one.command}`),
      })),
    );
  }

  #rows(found) {
    this.#chosen = 0;
    $("commands").hidden = !found.length;
    $("commands").replaceChildren(
      ...found.map((one, index) => {
        const row = make("button", index ? "command" : "command chosen");
        row.type = "button";
        row.setAttribute("role", "option");
        if (one.photo) {
          const image = make("img");
          image.src = `/sandbox/files/${one.photo}`;
          image.alt = "";
          row.append(image);
        }
        row.append(make("b", "", one.label), make("span", "", one.hint));
        row.addEventListener("pointerdown", (event) => event.preventDefault());
        row.addEventListener("click", () => {
          this.#list(false);
          $("text").value = "";
          this.#typed(false);
          one.take();
        });
        return row;
      }),
    );
  }

  #key(event) {
    const rows = [...$("commands").children];
    const open = !$("commands").hidden && rows.length > 0;
    if (event.key === "Escape") {
      if (open) this.#list(false);
      else this.clear(false);
    } else if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      rows[this.#chosen].classList.remove("chosen");
      this.#chosen = (this.#chosen + (event.key === "ArrowDown" ? 1 : rows.length - 1)) % rows.length;
      rows[this.#chosen].classList.add("chosen");
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (open) rows[this.#chosen].click();
      else this.send();
    }
  }
}
