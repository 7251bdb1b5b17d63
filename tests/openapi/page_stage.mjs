// Runs the page's module on a stage of its own: as much of a document as it uses, and the description from a file.
// Opens every operation and prints what a reader would see, as JSON.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

class Node {
  constructor(tag) {
    Object.assign(this, { tagName: tag.toUpperCase(), nodes: [], heard: {}, hidden: false, value: "" });
  }
  get children() {
    return this.nodes.filter((each) => each instanceof Node);
  }
  append(...nodes) {
    for (const each of nodes) {
      if (!(each instanceof Node) && typeof each !== "string") throw new Error(`not a node: ${typeof each} ${each}`);
    }
    this.nodes.push(...nodes);
  }
  replaceChildren(...nodes) {
    this.nodes = [];
    this.append(...nodes);
  }
  addEventListener(name, hear) {
    this.heard[name] = hear;
  }
  set textContent(text) {
    this.nodes = [text];
  }
  get textContent() {
    return this.nodes.map((each) => (each instanceof Node ? each.textContent : each)).join("");
  }
  all(wanted) {
    return this.children.flatMap((each) => [...(wanted(each) ? [each] : []), ...each.all(wanted)]);
  }
}

const [, , script, description] = process.argv;
const named = Object.fromEntries(["reference", "version", "chapters", "search", "found"].map((id) => [id, new Node("div")]));
globalThis.document = { createElement: (tag) => new Node(tag), getElementById: (id) => named[id] ?? null };
globalThis.location = { origin: "https://tocsin.example", hash: "" };
globalThis.fetch = async () => ({ ok: true, json: async () => JSON.parse(readFileSync(description, "utf8")) });

await import(pathToFileURL(script));

const operations = named.reference.all((each) => each.className === "operation");
for (const each of operations) {
  each.open = true;
  each.heard.toggle();
}
const search = (text) => {
  named.search.value = text;
  named.search.heard.input();
  return operations.filter((each) => !each.hidden).map((each) => each.id);
};
console.log(JSON.stringify({
  shown: Object.fromEntries(operations.map((each) => [each.id, each.textContent])),
  commands: Object.fromEntries(operations.map((each) => [each.id, each.all((node) => node.tagName === "PRE")[0].textContent])),
  chapters: named.chapters.children.map((each) => each.textContent),
  found: { both: search("ROTATE secret"), code: search("op_id_conflict"), none: search("zzz"), all: search("") },
}));
