// Shows the API's description: loads the document, lists its operations, and lays one out when it is opened.
// Everything is made of text nodes, so that nothing in the document can become markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 8;

/** Makes an element; a property that is undefined is left out, and so is a child that is null. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value !== undefined) element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Returns text with what stands between backticks as code. */
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

function paragraphs(text) {
  return (text ?? "").split(/\n\n+/).filter(Boolean).map((each) => make("p", {}, prose(each)));
}

class Reference {
  constructor(description) {
    this.description = description;
    this.operations = Object.entries(description.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => method in item).map((method) => ({ path, method, ...item[method] })),
    );
  }

  /** Follows a reference; what stands beside it narrows what it names. */
  resolved(value) {
    let found = value;
    while (found && found.$ref) {
      const { $ref, ...beside } = found;
      const named = $ref.split("/").slice(1).reduce((at, step) => at[step], this.description);
      const properties = { ...named.properties, ...beside.properties };
      const required = [...(named.required ?? []), ...(beside.required ?? [])];
      found = { ...named, ...beside };
      if (Object.keys(properties).length) found = { ...found, properties, required };
    }
    return found;
  }

  /** Says in a few words what a schema allows. */
  kind(schema) {
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
    if (schema.anyOf) return schema.anyOf.map((each) => this.kind(this.resolved(each))).join(" or ");
    if (schema.type === "array") return `list of ${this.kind(this.resolved(schema.items ?? {}))}`;
    const kind = [schema.type ?? "anything"].flat().join(" or ");
    return schema.format ? `${kind} (${schema.format})` : kind;
  }

  bounds(schema) {
    const words = {
      minLength: "characters at least", maxLength: "characters at most", minimum: "at least", maximum: "at most",
      minItems: "elements at least", maxItems: "elements at most", maxProperties: "members at most",
      pattern: "pattern", default: "default",
    };
    return Object.entries(words)
      .filter(([name]) => schema[name] !== undefined)
      .map(([name, word]) => `${word} ${typeof schema[name] === "object" ? JSON.stringify(schema[name]) : schema[name]}`)
      .join(", ");
  }

  described(name, given, required) {
    const schema = this.resolved(given);
    const bounds = this.bounds(schema);
    return [
      make("code", {}, name), " ",
      make("span", { className: "faint" }, this.kind(schema)), " ",
      required ? make("span", { className: "required" }, "required") : null,
      schema.description ? [" ", prose(schema.description)] : null,
      bounds ? make("div", { className: "faint" }, bounds) : null,
    ].flat();
  }

  /** Lays out the members of an object, and those of its members. */
  members(given, depth = 0) {
    let schema = this.resolved(given);
    if (schema.type === "array" || (Array.isArray(schema.type) && schema.items)) schema = this.resolved(schema.items);
    if (schema.anyOf) {
      const parts = schema.anyOf.map((each) => this.members(each, depth)).filter(Boolean);
      return parts.length ? make("div", {}, parts) : null;
    }
    if (!schema.properties || depth > DEPTH_MAX) return null;
    const required = schema.required ?? [];
    return make("ul", { className: "members" }, Object.entries(schema.properties).map(([name, member]) =>
      make("li", {}, this.described(name, member, required.includes(name)), this.members(member, depth + 1))));
  }

  media(content) {
    return Object.entries(content ?? {}).map(([type, media]) => {
      const schema = this.resolved(media.schema);
      return make("div", {},
        make("p", { className: "faint" }, type, schema.properties ? "" : `: ${this.kind(schema)}`),
        this.members(media.schema),
        sample(typeof media.example === "string" && !type.includes("json")
          ? media.example : JSON.stringify(media.example, null, 2)));
    });
  }

  parameters(operation) {
    const all = operation.parameters ?? [];
    if (!all.length) return null;
    return [make("h3", {}, "Parameters"), make("ul", { className: "members" }, all.map((each) =>
      make("li", {}, this.described(each.name, each.schema, each.required), " ",
        make("span", { className: "faint" }, `in the ${each.in}. `), prose(each.description ?? ""))))];
  }

  answers(operation) {
    return Object.entries(operation.responses).map(([status, given]) => {
      const answer = this.resolved(given);
      const headers = Object.entries(answer.headers ?? {});
      return make("details", { open: status.startsWith("2") },
        make("summary", {}, make("code", {}, status), make("span", {}, prose(answer.description))),
        headers.length ? make("ul", { className: "members" }, headers.map(([name, header]) =>
          make("li", {}, "header ", this.described(name, header.schema, false)))) : null,
        this.media(answer.content));
    });
  }

  security(operation) {
    const ways = (operation.security ?? []).map((way) => Object.entries(way));
    if (!ways.length) return make("p", { className: "faint" }, "Anybody may ask.");
    const schemes = this.description.components.securitySchemes;
    return ways.map((way) => make("div", {}, way.length ? null : make("p", {}, "Or nothing."), way.map(([name, scopes]) =>
      make("p", {}, make("code", {}, header(schemes[name])), scopes.length ? ` with the scope ${scopes.join(", ")}. ` : " ",
        make("span", { className: "faint" }, prose(schemes[name].description ?? ""))))));
  }

  /** Returns a command line that sends the example. */
  curl(operation) {
    const schemes = this.description.components.securitySchemes;
    const target = operation.path.replace(/\{(\w+)\}/g, (_, name) =>
      encodeURIComponent(example((operation.parameters ?? []).find((each) => each.in === "path" && each.name === name))));
    const query = (operation.parameters ?? []).filter((each) => each.in === "query" && each.required)
      .map((each) => `${each.name}=${encodeURIComponent(example(each))}`).join("&");
    const parts = [`curl -X ${operation.method.toUpperCase()} ${quoted(location.origin + target + (query && `?${query}`))}`];
    for (const name of Object.keys((operation.security ?? [])[0] ?? {})) parts.push(`-H ${quoted(header(schemes[name]))}`);
    const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    if (type) parts.push(`-H ${quoted(`Content-Type: ${type}`)}`, `-d ${quoted(JSON.stringify(media.example))}`);
    return parts.join(" \\\n  ");
  }

  inside(operation) {
    const body = operation.requestBody;
    return make("div", { className: "inside" },
      paragraphs(operation.description), this.security(operation), sample(this.curl(operation)),
      this.parameters(operation),
      body ? [make("h3", {}, "Body"), make("p", { className: "faint" }, body.description), this.media(body.content)] : null,
      make("h3", {}, "Answers"), make("div", { className: "answers" }, this.answers(operation)));
  }

  /** Returns one operation, laid out when it is first opened. */
  entry(operation) {
    const details = make("details", { className: "operation", id: operation.operationId },
      make("summary", {},
        make("span", { className: `method ${operation.method}` }, operation.method.toUpperCase()),
        make("code", {}, operation.path), make("span", { className: "says" }, operation.summary)));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(this.inside(operation));
    });
    const words = [operation.operationId, operation.method, operation.path, operation.summary, operation.description,
      JSON.stringify(operation.parameters ?? ""), JSON.stringify(operation.responses)].join(" ").toLowerCase();
    return { details, words };
  }
}

/** Returns the header that a security scheme asks for. */
function header(scheme) {
  return scheme.type === "http" ? "Authorization: Bearer YOUR_KEY" : `${scheme.name}: YOUR_VALUE`;
}

function example(parameter) {
  const schema = parameter?.schema ?? {};
  return schema.examples?.[0] ?? schema.default ?? schema.enum?.[0] ?? parameter?.name ?? "";
}

/** Quotes a word for a POSIX shell. */
function quoted(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function sample(text) {
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
  });
  return make("div", { className: "sample" }, make("pre", { tabIndex: 0 }, text), button);
}

function show(description) {
  const reference = new Reference(description);
  const entries = reference.operations.map((operation) => ({ operation, ...reference.entry(operation) }));
  const main = document.getElementById("reference");
  document.getElementById("version").textContent = description.info.version;
  main.replaceChildren(...paragraphs(description.info.description));
  const sections = description.tags.map((tag) => {
    const mine = entries.filter((entry) => entry.operation.tags.includes(tag.name));
    const section = make("section", { id: tag.name }, make("h2", {}, tag["x-displayName"]), paragraphs(tag.description),
      mine.map((entry) => entry.details));
    document.getElementById("chapters").append(make("a", { href: `#${tag.name}` }, tag["x-displayName"]));
    main.append(section);
    return { section, mine };
  });
  const input = document.getElementById("search");
  const found = document.getElementById("found");
  const search = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { section, mine } of sections) {
      for (const entry of mine) entry.details.hidden = !wanted.every((word) => entry.words.includes(word));
      section.hidden = mine.every((entry) => entry.details.hidden);
    }
    const shown = entries.filter((entry) => !entry.details.hidden).length;
    found.textContent = wanted.length ? `${shown} of ${entries.length} operations` : `${entries.length} operations`;
  };
  input.addEventListener("input", search);
  search();
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named) {
    if (named.tagName === "DETAILS") named.open = true;
    named.scrollIntoView();
  }
}

try {
  const answer = await fetch("/api/v1/openapi.json");
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
  show(await answer.json());
} catch (fault) {
  document.getElementById("reference").replaceChildren(make("p", {}, `The description could not be loaded: ${fault.message}`));
}
