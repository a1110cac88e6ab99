// A little Markdown, safely: the model's text only ever becomes text nodes, never HTML.

const ITEM = /^(\s*)([-*+]|(\d+)[.)])(?:\s+(.*)|$)/;

/** Cuts text into blocks: {kind: "p" | "h" | "quote" | "rule" | "code" | "list", ...}. */
export function blocks(text) {
  const found = [];
  let block;
  let gap = false;
  const above = []; // marks of the headings that the next one is below
  const open = (fresh) => {
    found.push(fresh);
    block = fresh;
  };
  for (const line of text.split("\n")) {
    const item = ITEM.exec(line);
    const [, indent, fence, language] = /^(\s*)(```+)\s*([\w+#-]*)/.exec(line) ?? [];
    const [, marks, heading] = /^(#{1,6})\s+(.*)/.exec(line) ?? [];
    if (block?.kind === "code") {
      if (fence && fence.length >= block.fence.length && !language) block = undefined;
      else block.lines.push(line.startsWith(block.indent) ? line.slice(block.indent.length) : line);
    } else if (fence) open({ kind: "code", indent, fence, language, lines: [] });
    else if (!line.trim()) gap = true;
    else if (heading) {
      // However many marks a model begins with, no level is skipped.
      while (above.at(-1) >= marks.length) above.pop();
      open({ kind: "h", level: above.push(marks.length), lines: [heading] });
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) open({ kind: "rule" });
    else if (item) {
      if (block?.kind !== "list") open({ kind: "list", items: [] });
      addItem(block, item);
    } else if (block?.kind === "list" && (!gap || /^\s/.test(line))) block.items.at(-1).lines.push(line.trim());
    else {
      const kind = /^>/.test(line) ? "quote" : "p";
      if (gap || block?.kind !== kind) open({ kind, lines: [] });
      block.lines.push(kind === "quote" ? line.replace(/^>\s?/, "") : line);
    }
    if (line.trim()) gap = false;
  }
  return found;
}

function addItem(list, [, indent, , number, text]) {
  const deepest = (list.items.at(-1)?.depth ?? -1) + 1;
  const depth = Math.min(Math.floor(indent.replace("\t", "  ").length / 2), deepest);
  list.items.push({ depth, number: number && Number(number), lines: [text ?? ""] });
}

export function build(block) {
  if (block.kind === "rule") return element("hr");
  if (block.kind === "list") return buildList(block.items);
  if (block.kind === "code") return buildCode(block);
  const name = { h: `h${Math.min(block.level + 2, 6)}`, quote: "blockquote", p: "p" }[block.kind];
  return element(name, {}, ...inline(block.lines.join("\n")));
}

function buildList(items) {
  const [{ depth, number }] = items;
  const list = number === undefined ? element("ul") : element("ol", { start: number });
  for (let at = 0; at < items.length; ) {
    let end = at + 1;
    while (end < items.length && items[end].depth > depth) end++;
    const item = element("li", {}, ...inline(items[at].lines.join("\n")));
    if (end > at + 1) item.append(buildList(items.slice(at + 1, end)));
    list.append(item);
    at = end;
  }
  return list;
}

function buildCode({ language, lines }) {
  const text = lines.join("\n");
  const bar = element("div", { className: "bar" }, language || "text", button("Copy", (copy) => copyText(copy, text)));
  const code = element("pre", { tabIndex: 0 }, element("code", { textContent: text }));
  return element("div", { className: "code" }, bar, code);
}

const MARKS = [
  /(?<tick>`+)(?<code>.+?)\k<tick>(?!`)/,
  /\*\*(?<strong>\S.*?)\*\*(?!\*)/,
  /(?<![\w*])\*(?<em>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])/,
  /\[(?<label>[^\]]+)\]\((?<href>https?:\/\/[^\s)]+)\)/,
];
const INLINE = new RegExp(MARKS.map((mark) => mark.source).join("|"), "gs");

function inline(text) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const { code, strong, em, label, href } = match.groups;
    nodes.push(text.slice(at, match.index));
    if (code) nodes.push(element("code", { textContent: code }));
    else if (strong) nodes.push(element("strong", {}, ...inline(strong)));
    else if (em) nodes.push(element("em", {}, ...inline(em)));
    else nodes.push(element("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...inline(label)));
    at = match.index + match[0].length;
  }
  return [...nodes, text.slice(at)].filter(Boolean);
}

/** Closes the marks that a text in the making has left open in its last block, lest they flicker. */
export function mend(text) {
  const isOpen = (part, mark) => part.split(mark).length % 2 === 0;
  if (isOpen(text, /^\s*```/m)) return text.replace(/\n\s*`{1,2}$/, "");
  const kept = text.replace(/(^|[\s(])[*`]{1,2}$/, "$1");
  const tail = kept.slice(kept.lastIndexOf("\n\n") + 1);
  if (isOpen(tail, "`")) return `${kept}\``;
  if (isOpen(tail, "**")) return `${kept.replace(/\*$/, "")}**`;
  return /(?<![\w*])\*[^\s*][^*]*$/.test(tail) ? `${kept.trimEnd()}*` : kept;
}

// -- DOM

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export function button(label, press) {
  const node = element("button", { type: "button", className: "quiet", textContent: label });
  node.addEventListener("click", () => press(node));
  return node;
}

export async function copyText(from, text) {
  await navigator.clipboard.writeText(text);
  from.textContent = "Copied";
}
