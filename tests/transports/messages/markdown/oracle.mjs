// Reads a JSON array of texts from stdin and prints, for each, the kinds of what Discord makes of it and the
// characters that are shown, as a JSON array of pairs.
import { readFileSync } from "node:fs";
import parser from "discord-markdown-parser";

function told(text) {
  const kinds = new Set();
  let shown = "";
  const walk = (node) => {
    if (Array.isArray(node)) {
      node.forEach(walk);
    } else if (typeof node === "string") {
      shown += node;
    } else {
      kinds.add(node.type);
      if (node.type === "br" || node.type === "newline") shown += "\n";
      else if (node.type === "twemoji") shown += node.name;
      else if (node.content !== undefined) walk(node.content);
    }
  };
  walk(parser.parse(text, "extended"));
  return [[...kinds], shown];
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(told)));
