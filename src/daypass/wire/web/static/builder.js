// A policy, trust policy or approval rule in parts, beside its JSON: each side changes the other.
// The JSON is what is sent. Members that the parts do not show stay as they are.
(() => {
  "use strict";

  const builder = document.querySelector(".builder");
  const text = builder && document.getElementById(builder.dataset.for);
  if (!text) return;
  const h = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children.filter(Boolean));
    return made;
  };
  const list = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
  const empty = () => Object.create(null); // in which a name such as __proto__ is one like any other
  const one = (label) => label.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase()).replace(/s$/, "");
  const short = (values) => (values.length === 1 ? values[0] : values);
  let whole = {};
  let number = 0;

  let ours = false;
  const write = (again = false) => {
    text.value = JSON.stringify(whole, null, 2);
    ours = true;
    text.dispatchEvent(new Event("input", { bubbles: true }));
    ours = false;
    if (again) draw(); else describe();
  };

  // --- Fields

  const input = (label, value, change, kind = "") => {
    const id = `builder-${number += 1}`;
    const field = h("input", { className: "form-control", id, value, autocomplete: "off", spellcheck: false });
    field.setAttribute("aria-label", label);
    field.addEventListener("change", () => change(field.value.trim()));
    if (!kind) return field;
    field.dataset.pick = kind; // console.js completes it
    return h("span", { className: "picker" }, field);
  };
  const select = (label, options, value, change) => {
    const known = options.some(([option]) => option === value) ? options : [...options, [value, value]];
    const made = h("select", { className: "form-select" }, ...known.map(([option, shown]) => h("option", { value: option, textContent: shown, selected: option === value })));
    made.setAttribute("aria-label", label);
    made.addEventListener("change", () => change(made.value));
    return made;
  };
  const button = (label, act, accessible = label) => {
    const made = h("button", { type: "button", className: "btn", textContent: label });
    made.setAttribute("aria-label", accessible);
    made.addEventListener("click", act);
    return made;
  };
  // Values, one in each line, with a button that removes it and one that adds another.
  const values = (label, found, kind, change) => {
    const lines = found.map((value, at) => h("div", { className: "line" },
      input(`${label} ${at + 1}`, value, (next) => { found[at] = next; change(found); write(); }, kind),
      button("×", () => { found.splice(at, 1); change(found); write(true); }, `Remove ${one(label)} ${value}`),
      kind === "action" && h("p", { className: "hint" })));
    return h("div", { className: "values" }, ...lines, button(`Add ${one(label)}`, () => { found.push(""); change(found); draw(); }));
  };
  // What each action does stands below it.
  const known = new Map();
  let describing = 0;
  const describe = () => { clearTimeout(describing); describing = setTimeout(showDescriptions, 200); };
  const showDescriptions = async () => {
    const fields = () => [...builder.querySelectorAll("[data-pick=action]")];
    const unknown = fields().map((field) => field.value).filter((value) => /^[\w-]+:\w+$/.test(value) && !known.has(value)).slice(0, 50);
    for (const each of unknown) known.set(each, "");
    if (unknown.length) {
      const answer = await fetch(`/console/pick?kind=about&text=${encodeURIComponent(unknown.join(" "))}`);
      if (answer.ok && !answer.redirected) for (const [value, text] of await answer.json()) known.set(value, text);
    }
    for (const field of fields()) field.closest(".line").querySelector(".hint").textContent = known.get(field.value) || "";
  };
  const group = (title, ...children) => {
    const made = h("fieldset", {}, h("legend", { textContent: title }), ...children);
    return made;
  };

  // --- Statements of policies and trust policies

  const TYPES = [["AWS", "AWS principal"], ["Federated", "Identity provider"], ["Service", "Service"]];
  const OPERATORS = ["StringEquals", "StringLike", "StringNotEquals", "Bool", "ArnLike", "IpAddress", "NumericLessThanEquals", "DateLessThan", "Null"].map((each) => [each, each]);
  const FIRST = { AWS: ["sts:AssumeRole", "sts:SetSourceIdentity"], Federated: ["sts:AssumeRoleWithWebIdentity"], Service: ["sts:AssumeRole"] };

  const principals = (statement) => {
    if (statement.Principal === "*") return [["AWS", "*"]];
    return Object.entries(statement.Principal || {}).flatMap(([type, found]) => list(found).map((value) => [type, value]));
  };
  const setPrincipals = (statement, pairs) => {
    const made = empty();
    for (const [type, value] of pairs) (made[type] ||= []).push(value);
    statement.Principal = Object.fromEntries(Object.entries(made).map(([type, found]) => [type, short(found)]));
  };
  const who = (statement) => {
    const pairs = principals(statement);
    const lines = pairs.map(([type, value], at) => h("div", { className: "line" },
      select(`Kind of principal ${at + 1}`, TYPES, type, (next) => {
        pairs[at][0] = next;
        if (pairs.length === 1) statement.Action = FIRST[next];
        setPrincipals(statement, pairs);
        write(true);
      }),
      input(`Principal ${at + 1}`, value, (next) => { pairs[at][1] = next; setPrincipals(statement, pairs); write(); }, "arn"),
      button("×", () => { pairs.splice(at, 1); setPrincipals(statement, pairs); write(true); }, `Remove principal ${value}`)));
    return group("Who", ...lines, button("Add principal", () => { setPrincipals(statement, [...pairs, ["AWS", ""]]); draw(); }));
  };
  const conditions = (holder, member, ...buttons) => {
    const rows = Object.entries(holder[member] || {}).flatMap(([operator, keys]) => Object.entries(keys).map(([key, found]) => [operator, key, list(found)]));
    const store = (again) => {
      const made = empty();
      for (const [operator, key, found] of rows) (made[operator] ||= empty())[key] = short(found);
      if (rows.length) holder[member] = made; else delete holder[member];
      write(again);
    };
    const add = (...row) => () => { rows.push(row); store(true); };
    const lines = rows.map((row, at) => h("div", { className: "line" },
      input(`Key of condition ${at + 1}`, row[1], (next) => { row[1] = next; store(); }, "key"),
      select(`Operator of condition ${at + 1}`, OPERATORS, row[0], (next) => { row[0] = next; store(); }),
      input(`Values of condition ${at + 1}, with commas`, row[2].join(", "), (next) => { row[2] = next.split(",").map((each) => each.trim()); store(); }),
      button("×", () => { rows.splice(at, 1); store(true); }, `Remove condition on ${row[1]}`)));
    return group("Only if", ...lines, h("div", { className: "actions" },
      button("Add condition", add("IpAddress", "aws:SourceIp", [""])),
      ...buttons.map(([label, key]) => button(label, add("Bool", key, ["true"]))),
      button("Needs MFA", add("Bool", "aws:MultiFactorAuthPresent", ["true"]))));
  };
  const statements = () => {
    const found = whole.Statement = list(whole.Statement);
    const cards = found.map((statement, at) => {
      const trust = builder.dataset.kind === "trust";
      const strange = ["NotPrincipal", "NotAction", "NotResource"].filter((each) => each in statement);
      return h("section", { className: "card card-body part" },
        h("div", { className: "heading" },
          h("h3", { textContent: `Statement ${at + 1}` }),
          select(`Effect of statement ${at + 1}`, [["Allow", "Allow"], ["Deny", "Deny"]], statement.Effect, (next) => { statement.Effect = next; write(); }),
          button("Remove", () => { found.splice(at, 1); write(true); }, `Remove statement ${at + 1}`)),
        strange.length && h("p", { className: "small", textContent: `It has ${strange.join(", ")}: edit these in the JSON.` }),
        trust && !("NotPrincipal" in statement) && who(statement),
        !("NotAction" in statement) && group("May do", values("Action", list(statement.Action), "action", (next) => { statement.Action = short(next); })),
        !trust && !("NotResource" in statement) && group("On", values("Resource", list(statement.Resource), "arn", (next) => { statement.Resource = short(next); })),
        conditions(statement, "Condition", ...(trust ? [["Needs an approved request", "daypass:Approved"]] : [])));
    });
    const first = builder.dataset.kind === "trust"
      ? { Effect: "Allow", Principal: { AWS: "" }, Action: FIRST.AWS }
      : { Effect: "Allow", Action: "", Resource: "*" };
    return [...cards, button("Add statement", () => { found.push(structuredClone(first)); write(true); })];
  };

  // --- An approval rule, as a sentence. The rest is settings.

  const SAID = ["roles", "requesters", "stages", "max_seconds"];
  const hours = (seconds) => String((seconds || 3600) / 3600);
  const others = (name, ...without) => {
    const { properties } = schema.$defs[name];
    return { properties: Object.fromEntries(Object.entries(properties).filter(([each]) => !without.includes(each))) };
  };
  const rule = () => {
    const requesters = whole.requesters ||= { principals: [] };
    const stages = whole.stages ||= [];
    const sentence = [
      group("These people", values("Requester", list(requesters.principals), "arn", (next) => { requesters.principals = next; })),
      conditions(requesters, "condition", ["They are on call", "daypass:OnCall"]),
      group("may take these roles", values("Role", list(whole.roles), "arn", (next) => { whole.roles = next; })),
      group("for at most this many hours", input("Hours", hours(whole.max_seconds), (next) => { whole.max_seconds = Math.round(Number(next) * 3600) || 3600; write(); })),
    ];
    const voters = stages.map((stage, at) => {
      stage.approvers ||= { principals: [] };
      return group(at ? "and" : "if",
        h("div", { className: "line" },
          input(`Number of approvals of stage ${at + 1}`, String(stage.threshold || 1), (next) => { stage.threshold = Number(next) || 1; write(); }),
          h("span", { textContent: "of these people approve" }),
          button("×", () => { stages.splice(at, 1); write(true); }, `Remove stage ${at + 1}`)),
        values("Approver", list(stage.approvers.principals), "arn", (next) => { stage.approvers.principals = next; }),
        h("p", { className: "hint", textContent: "Name of the stage" }),
        input(`Name of stage ${at + 1}`, stage.name || "approval", (next) => { stage.name = next; write(); }),
        ...members(others("Stage", "name", "threshold", "approvers"), stage));
    });
    const add = () => { stages.push({ name: `stage-${stages.length + 1}`, approvers: { principals: [] } }); write(true); };
    return [...sentence, ...voters, button("Add a stage of approval", add), ...members(others("Rule", ...SAID), whole)];
  };

  // --- Settings, by their JSON Schema: a line for each that is set, and a choice of the others

  const title = (name) => name.replace(/^urn:ietf:params:oauth:(?:grant|token)-type:/, "").replace(/[_-]/g, " ")
    .replace(/\b(?:uri|jwks|jwt|mfa|arn|url|ip|id|saml|tls|dns|ca|pem|http|spiffe|fapi)(?=s?\b)/g, (word) => word.toUpperCase()).replace(/\bdpop\b/, "DPoP").replace(/^[a-z]/, (letter) => letter.toUpperCase());
  const schema = builder.dataset.schema ? JSON.parse(builder.dataset.schema) : {};
  const resolved = (about) => {
    if (about.$ref) return resolved(schema.$defs[about.$ref.split("/").pop()]);
    return about.anyOf ? resolved(about.anyOf.find((each) => each.type !== "null")) : about;
  };
  const firstOf = (found) => {
    const about = resolved(found);
    if (about.enum) return about.enum[0];
    const needed = (about.required || []).map((name) => [name, firstOf(about.properties[name])]);
    return { boolean: true, integer: 0, string: "", array: [] }[about.type] ?? Object.assign(empty(), Object.fromEntries(needed));
  };
  const marked = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", { textContent: part }) : part));
  const boxes = (label, options, found, change) => h("div", { className: "boxes" }, ...options.map((option) => {
    const box = h("input", { type: "checkbox", className: "form-check-input", checked: found.includes(option) });
    box.addEventListener("change", () => change(options.filter((each) => (each === option ? box.checked : found.includes(each)))));
    return h("label", { className: "form-check" }, box, h("span", { className: "form-check-label", textContent: title(option) }));
  }));
  const entries = (label, about, found) => [
    ...Object.entries(found).map(([name, value]) => group(name,
      h("div", { className: "line" },
        input(`Name of ${one(label)}`, name, (next) => { delete found[name]; found[next] = value; write(true); }),
        button("×", () => { delete found[name]; write(true); }, `Remove ${one(label)} ${name}`)),
      control(`${label} ${name}`, about, value, (next) => { found[name] = next; write(); }))),
    button(`Add ${one(label)}`, () => { found[`new-${Object.keys(found).length + 1}`] = firstOf(about); write(true); }),
  ];
  const control = (label, found, value, change) => {
    const about = resolved(found);
    const kind = /role|policy|trust anchor|principal/i.test(label) ? "arn" : "";
    if (about.enum) return select(label, about.enum.map((each) => [each, each || "as the server"]), value, change);
    if (about.type === "boolean") return select(label, [["true", "yes"], ["false", "no"]], String(value), (next) => change(next === "true"));
    if (about.type === "integer") return input(label, String(value), (next) => change(Math.trunc(Number(next)) || 0));
    if (about.type === "string") return input(label, value, change, kind);
    if (about.properties) return h("div", { className: "part" }, ...members(about, value));
    if (about.additionalProperties) return h("div", {}, ...entries(label, about.additionalProperties, value));
    const items = about.items && resolved(about.items);
    if (items?.enum) return boxes(label, items.enum, list(value), change);
    if (items?.type === "string") return values(label, list(value), kind, change);
    if (!items?.properties) return h("p", { className: "small", textContent: "It is edited in the JSON." });
    return h("div", {}, ...list(value).map((each, at) => group(`${label} ${at + 1}`, ...members(items, each),
      button("Remove", () => { value.splice(at, 1); write(true); }, `Remove ${label} ${at + 1}`))),
    button(`Add to ${label}`, () => { value.push(firstOf(items)); write(true); }));
  };
  const members = (about, found) => {
    const lines = Object.entries(about.properties).filter(([name]) => name in found && found[name] !== null).map(([name, each]) => {
      const remove = button("×", () => { delete found[name]; write(true); }, `Remove ${title(name)}`);
      const made = group(title(name), remove, each.description && h("p", { className: "hint" }, ...marked(each.description)),
        name === "condition" ? conditions(found, name) : control(title(name), each, found[name], (next) => { found[name] = next; write(); }));
      made.classList.add("setting");
      return made;
    });
    const others = Object.keys(about.properties).filter((name) => !(name in found) || found[name] === null);
    return [...lines, others.length && select("Add a setting", [["", "Add a setting…"], ...others.map((name) => [name, title(name)])], "", (name) => {
      if (name) found[name] = firstOf(about.properties[name]);
      write(true);
    })];
  };

  // --- The JSON, in an editor. The text area stays the field of the form.

  const { EditorState, EditorView, HighlightStyle, tags, syntaxTree, ...editor } = CodeMirror;
  const KEYS = {
    "": ["Version", "Statement"],
    Statement: ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"],
    "Statement/Principal": TYPES.map(([type]) => type),
    "Statement/Condition": OPERATORS.map(([operator]) => operator),
  };
  const VALUES = { Version: ["2012-10-17"], Effect: ["Allow", "Deny"] };
  const PICKS = { Action: "action", NotAction: "action", Resource: "arn", NotResource: "arn", AWS: "arn", Federated: "arn", roles: "arn", principals: "arn" };
  const picked = async (kind, typed) => {
    const answer = await fetch(`/console/pick?kind=${kind}&text=${encodeURIComponent(typed)}`);
    return answer.ok && !answer.redirected ? (await answer.json()).map(([value, detail]) => ({ label: value, detail })) : [];
  };
  const labels = (found) => (Array.isArray(found) ? found : []).map((label) => ({ label: String(label) }));
  const described = (path) => path.reduce((about, name) => {
    const within = about && resolved(about);
    const next = within && (within.properties?.[name] || within.additionalProperties || undefined);
    return next && resolved(next).type === "array" ? resolved(next).items : next;
  }, schema);
  // Members and values that the policy language or the schema of the settings knows at this place.
  const complete = async ({ state, pos }) => {
    const node = syntaxTree(state).resolveInner(pos, -1);
    if (!["PropertyName", "String"].includes(node.name)) return null;
    const textOf = ({ from, to }) => state.sliceDoc(from, to).replaceAll('"', "");
    const path = [];
    for (let each = node.name === "PropertyName" ? node.parent.parent : node.parent; each; each = each.parent) {
      if (each.name === "Property") path.unshift(textOf(each.firstChild));
    }
    const last = path.at(-1);
    const about = builder.dataset.schema && described(path);
    const typed = textOf({ from: node.from, to: pos });
    const member = node.name === "PropertyName";
    const options = about ? labels(member ? Object.keys(resolved(about).properties || {}) : resolved(about).enum)
      : member && path.length === 3 && path[1] === "Condition" ? await picked("key", typed)
      : member ? labels(KEYS[path.join("/")])
      : PICKS[last] ? await picked(PICKS[last], typed) : labels(VALUES[last]);
    const closed = /.".*$/.test(state.sliceDoc(node.from, node.to));
    return { from: node.from + 1, to: closed ? node.to - 1 : pos, options, filter: !PICKS[last] };
  };
  const look = EditorView.theme({
    "&": { color: "var(--ink)", backgroundColor: "var(--field)", fontSize: "var(--text-s)", maxHeight: "36rem" },
    "&.cm-focused": { outline: "none" },
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
    ".cm-content": { caretColor: "var(--ink)", minHeight: "12rem" },
    ".cm-gutters": { color: "var(--soft)", backgroundColor: "var(--ground)", borderRight: "1px solid var(--line)" },
    ".cm-tooltip": { color: "var(--ink)", backgroundColor: "var(--raised)", border: "1px solid var(--line)" },
    ".cm-tooltip-autocomplete ul li[aria-selected]": { color: "var(--on-accent)", backgroundColor: "var(--accent)" },
    "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-ground)" },
  });
  const colours = HighlightStyle.define([
    { tag: tags.propertyName, color: "var(--accent)" },
    { tag: tags.string, color: "var(--ok)" },
    { tag: [tags.number, tags.bool, tags.null], color: "var(--wait)" },
  ]);
  const label = document.querySelector(`label[for="${text.id}"]`);
  // The linter of the server. Its findings stand below the parts, and in the editor where they belong.
  const lint = async ({ state }) => {
    await htmx.ajax("POST", "/console/lint", { source: text, target: "#findings", select: "#findings", swap: "outerHTML" });
    const at = (line, column) => {
      const { from, to } = state.doc.line(Math.min(line, state.doc.lines));
      return Math.min(from + column - 1, to);
    };
    return [...document.querySelectorAll("#findings [data-place]")].map((each) => {
      const [line, column, endLine, endColumn] = each.dataset.place.split(" ").map(Number);
      const [from, end] = [at(line, column), at(endLine, endColumn)];
      const to = end > from ? end : state.doc.lineAt(from).to;
      const severity = { error: "error", warning: "warning" }[each.dataset.severity] || "info";
      return { from, to, severity, message: each.querySelector(".finding").textContent };
    });
  };
  const host = h("div", { className: "code-editor" });
  text.before(host);
  text.hidden = true;
  text.required = false; // the server says what is missing: a hidden field cannot
  label.removeAttribute("for");
  label.addEventListener("click", () => code.focus());
  const root = host.attachShadow({ mode: "open" }); // its style sheets are objects, which the page's policy permits
  const code = new EditorView({
    root, parent: root, doc: text.value,
    extensions: [
      editor.lineNumbers(), editor.history(), editor.bracketMatching(), editor.json(), editor.syntaxHighlighting(colours), look,
      editor.linter(editor.jsonParseLinter()), editor.linter(lint, { delay: 600 }), editor.lintGutter(), editor.autocompletion({ override: [complete] }),
      editor.keymap.of([...editor.completionKeymap, ...editor.defaultKeymap, ...editor.historyKeymap]),
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": label.textContent, tabindex: "0" }),
      EditorState.changeFilter.of((change) => change.newDoc.length <= text.maxLength),
      EditorView.updateListener.of(({ docChanged, state }) => {
        if (!docChanged || state.doc.toString() === text.value) return;
        text.value = state.doc.toString();
        text.dispatchEvent(new Event("input", { bubbles: true }));
      }),
    ],
  });
  const show = () => {
    const shown = code.state.doc.toString();
    if (shown !== text.value) code.dispatch({ changes: { from: 0, to: shown.length, insert: text.value } });
  };

  // --- Both sides

  const draw = () => {
    const active = document.activeElement;
    const at = [...builder.querySelectorAll("input, select, button")].indexOf(active);
    if (at >= 0) active.blur(); // what was typed is kept
    const parts = { rule, settings: () => members(resolved(schema), whole) }[builder.dataset.kind] || statements;
    builder.replaceChildren(...parts().filter(Boolean));
    describe();
    if (at >= 0) [...builder.querySelectorAll("input, select, button")][at]?.focus();
  };
  const read = () => {
    try {
      whole = JSON.parse(text.value, (_, value) => (value && typeof value === "object" && !Array.isArray(value) ? Object.assign(empty(), value) : value));
      if (!whole || typeof whole !== "object" || Array.isArray(whole)) throw new Error("it is not an object");
      draw();
    } catch (error) {
      builder.replaceChildren(h("p", { className: "alert alert-danger", textContent: `The JSON cannot be read: ${error.message}` }));
    }
  };
  text.addEventListener("input", () => { show(); if (!ours) read(); });
  builder.hidden = false;
  read();
})();
