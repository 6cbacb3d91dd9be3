// Turns a text and its entities into nodes. Text only ever becomes text nodes, links only known schemes.

const TAGS = {
  bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "pre",
  blockquote: "blockquote", expandable_blockquote: "blockquote",
};
const BLOCKS = new Set(["blockquote", "expandable_blockquote", "pre"]);
const SAFE = /^(https?|tg|mailto|tel):/i;

function wrapper(entity, text, onCommand) {
  if (TAGS[entity.type]) return document.createElement(TAGS[entity.type]);
  if (entity.type === "url" || entity.type === "text_link") {
    const url = entity.url || text;
    const link = document.createElement("a");
    if (!SAFE.test(url)) return link;
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return link;
  }
  if (entity.type === "bot_command") {
    const command = document.createElement("a");
    command.href = "#";
    command.addEventListener("click", (event) => {
      event.preventDefault();
      onCommand(text);
    });
    return command;
  }
  const span = document.createElement("span");
  if (entity.type === "spoiler") {
    span.className = "spoiler";
    span.addEventListener("click", () => span.classList.add("open"));
  } else if (entity.type === "mention" || entity.type === "hashtag") {
    span.className = "mention";
  }
  return span;
}

// Offsets count UTF-16 units, as JavaScript's strings do.
export function renderText(text, entities, onCommand) {
  const sorted = [...(entities || [])].sort((a, b) => a.offset - b.offset || b.length - a.length);
  function part(from, to, inside) {
    const nodes = document.createDocumentFragment();
    let at = from;
    let index = 0;
    while (index < inside.length) {
      const entity = inside[index];
      const end = Math.min(to, entity.offset + entity.length);
      const nested = [];
      index += 1;
      while (index < inside.length && inside[index].offset < end) nested.push(inside[index++]);
      if (entity.offset < at) continue;
      nodes.append(text.slice(at, entity.offset));
      const element = wrapper(entity, text.slice(entity.offset, end), onCommand);
      element.append(part(entity.offset, end, nested));
      nodes.append(element);
      // A block ends its line by itself.
      at = BLOCKS.has(entity.type) && text[end] === "\n" ? end + 1 : end;
    }
    nodes.append(text.slice(at, to));
    return nodes;
  }
  return part(0, text.length, sorted);
}
