"use strict";
// Shows a run of the specification, and takes its steps. The rules are not here: `colofd` was made from the specification.

const ACTORS = { primary: "The primary", receiver: "The receiver", guest: "The secondary's guest", environment: "The environment" };
const SHOWN = {
  Channel: (number) => (number ? `mfd${number - 1}` : "main"),
  Value: (number) => (number ? `${number}` : "zeros"),
};
const LIMITS = { channels: [0, 4], pages: [1, 16], values: [2, 64], devices: [1, 8] };
const USUAL = { channels: 1, pages: 2, values: 2, devices: 2 };

/** What is shown: a specification, the sizes, and a run; `at` is how many of its steps are taken. */
let shown;

// The specification.

function specification(name, control) {
  const base = colofd.specifications[name];
  const changed = control ? colofd.controls.find((each) => each.name === control) : null;
  if (!changed) return base;
  const rules = base.rules.map((rule) => changed.rules.find((other) => other.id === rule.id) ?? rule);
  return { ...base, rules, initial: changed.initial ?? base.initial, clauses: [...base.clauses, ...changed.clauses] };
}

function membersOf(spec, sizes) {
  const counts = { Channel: sizes.channels + 1, Page: sizes.pages, Value: sizes.values, DeviceState: sizes.devices };
  for (const [name, members] of Object.entries(spec.sorts)) counts[name] = members.length;
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, [...Array(count).keys()]]));
}

function firstState(spec, members) {
  const fill = ([sort, ...rest], value) => (sort ? members[sort].map(() => fill(rest, value)) : value);
  return Object.fromEntries(spec.cells.map((cell) => [cell.name, fill(cell.key, colofd.beginning[cell.name] ?? (cell.to === "bool" ? false : 0))]));
}

function choices(rule, members) {
  return rule.parameters.reduce((found, [, sort]) => found.flatMap((given) => members[sort].map((member) => [...given, member])), [[]]);
}

const failing = (rule, state, given) => rule.guards.filter((guard) => !guard.holds(state, shown.members, ...given));
const broken = (state) => shown.spec.clauses.filter((clause) => !clause.holds(state, shown.members));

function said(sort, value) {
  if (sort === "bool") return value ? "yes" : "no";
  return (SHOWN[sort] ?? ((number) => colofd.specifications.both.sorts[sort]?.[number] ?? `${number}`))(value);
}

function stepName(rule, given) {
  const named = rule.parameters.map(([name, sort], place) => `${name} ${said(sort, given[place])}`);
  return named.length ? `${rule.id}(${named.join(", ")})` : rule.id;
}

function changes(before, after) {
  const found = [];
  const compare = (cell, old, now, key) => {
    if (Array.isArray(now)) now.forEach((each, member) => compare(cell, old[member], each, [...key, said(cell.key[key.length], member)]));
    else if (old !== now) found.push(`${cell.name}${key.length ? `[${key.join(", ")}]` : ""} := ${said(cell.to, now)}`);
  };
  for (const cell of shown.spec.cells) compare(cell, before[cell.name], after[cell.name], []);
  return found;
}

// The run.

const current = () => shown.states[shown.at];

function begin(name, control, sizes, initial) {
  const spec = specification(name, control);
  const members = membersOf(spec, sizes);
  const state = { ...firstState(spec, members), ...initial };
  shown = { name, control, sizes, spec, members, states: [state], steps: [], at: 0, message: "", broken: [] };
  shown.broken.push(broken(state));
  if (!spec.initial.holds(state, members)) shown.message = `No run begins like this: ${spec.initial.text}`;
}

/** Take a step behind those that are taken; return why it is not possible, or nothing. */
function take(rule, given) {
  const why = failing(rule, current(), given);
  if (why.length) return why;
  if (shown.steps[shown.at]?.name !== stepName(rule, given)) {
    shown.steps.length = shown.at;
    shown.states.length = shown.broken.length = shown.at + 1;
    shown.steps.push({ rule, given, name: stepName(rule, given) });
    shown.states.push(rule.after(current(), shown.members, ...given));
    shown.broken.push(broken(shown.states[shown.at + 1]));
  }
  shown.at += 1;
  return [];
}

/** Take steps of another run, each a rule's id and its arguments; at the first that is not possible, say why. */
function takeAll(steps) {
  for (const [id, given] of steps) {
    const rule = shown.spec.rules.find((each) => each.id === id);
    const fits = rule && given.length === rule.parameters.length && given.every((member, place) => shown.members[rule.parameters[place][1]].includes(member));
    if (!fits) {
      shown.message = `Step ${shown.at + 1} of the run is unknown here: ${id}(${given})`;
      return;
    }
    const why = take(rule, given);
    if (why.length) {
      const texts = why.map((guard) => `${guard.id} does not hold: ${guard.text}`);
      shown.message = `Step ${shown.at + 1} of the run, ${stepName(rule, given)}, is not possible. ${texts.join("; ")}`;
      return;
    }
  }
}

// Addresses.

function address() {
  const fields = new URLSearchParams({ spec: shown.name });
  if (shown.control) fields.set("control", shown.control);
  for (const [name, count] of Object.entries(shown.sizes)) fields.set(name, count);
  const usual = firstState(shown.spec, shown.members);
  const set = shown.spec.cells.filter(({ name }) => JSON.stringify(usual[name]) !== JSON.stringify(shown.states[0][name]));
  if (set.length) fields.set("set", set.map(({ name }) => `${name}:${[shown.states[0][name]].flat(2).map(Number)}`).join(";"));
  const steps = shown.steps.map(({ rule, given }) => (given.length ? `${rule.id}(${given})` : rule.id));
  if (steps.length) fields.set("run", steps.join(";"));
  if (shown.at < steps.length) fields.set("at", shown.at);
  // These may stand in an address as they are, and are easier to read.
  return `#${fields.toString().replaceAll("%28", "(").replaceAll("%29", ")").replaceAll("%2C", ",").replaceAll("%3B", ";").replaceAll("%3A", ":")}`;
}

function shaped(cell, members, numbers, where = cell.key) {
  if (where.length) return members[where[0]].map(() => shaped(cell, members, numbers, where.slice(1)));
  const number = numbers.shift() ?? 0;
  return cell.to === "bool" ? Boolean(number) : number;
}

function openAddress(text) {
  const fields = new URLSearchParams(text.replace(/^#/, ""));
  const known = colofd.controls.find((each) => each.name === fields.get("control"));
  if (known?.address && !fields.has("run")) {
    openAddress(known.address);
    return;
  }
  const name = known ? known.specification : fields.get("spec") === "both" ? "both" : "receive";
  const sizes = { ...USUAL };
  for (const [size, [least, most]] of Object.entries(LIMITS)) {
    const wanted = Number.parseInt(fields.get(size) ?? "", 10);
    if (wanted >= least && wanted <= most) sizes[size] = wanted;
  }
  const spec = specification(name, known?.name);
  const members = membersOf(spec, sizes);
  const initial = {};
  for (const part of (fields.get("set") ?? "").split(";").filter(Boolean)) {
    const cell = spec.cells.find((each) => each.name === part.split(":")[0]);
    if (cell) initial[cell.name] = shaped(cell, members, part.slice(cell.name.length + 1).split(",").map(Number));
  }
  begin(name, known?.name ?? "", sizes, initial);
  if (fields.has("control") && !known) shown.message = `There is no known mistake “${fields.get("control")}” here; this is the specification as it is.`;
  const steps = (fields.get("run") ?? "").split(";").filter(Boolean).map((step) => {
    const [, id, given] = step.match(/^([^(]*)(?:\((.*)\))?$/) ?? [null, step, ""];
    return [id, given ? given.split(",").map(Number) : []];
  });
  takeAll(steps);
  if (shown.at && shown.at === steps.length && known) shown.message = known.doc;
  const at = Number.parseInt(fields.get("at") ?? "", 10);
  if (at >= 0 && at < shown.at) shown.at = at;
}

// Files: a tour of `colofd explore --tour`, or a run of `colofd trace --steps`.

function openFile(text, which = 0) {
  let file;
  try {
    file = JSON.parse(text);
  } catch (error) {
    return say(`This file is no JSON: ${error.message}`);
  }
  const run = file?.runs?.[which];
  if (file?.format !== "colofd-tour/1" || !run) return say("This file is no run: its format is not colofd-tour/1, or it has no runs.");
  const name = "primary_at" in run.initial ? "both" : "receive";
  const spec = specification(name, file.control);
  const sizes = { ...USUAL };
  for (const size of Object.keys(LIMITS)) sizes[size] = file[size] ?? sizes[size];
  const number = (sort, value) => (typeof value === "string" ? spec.sorts[sort].indexOf(value) : value);
  const held = (cell, value) => (Array.isArray(value) ? value.map((each) => held(cell, each)) : number(cell.to, value));
  const initial = Object.fromEntries(spec.cells.filter((cell) => cell.name in run.initial).map((cell) => [cell.name, held(cell, run.initial[cell.name])]));
  begin(name, file.control ?? "", sizes, initial);
  takeAll(run.steps.map((step) => {
    const rule = spec.rules.find((each) => each.id === step.rule);
    return [step.rule, (rule?.parameters ?? []).map(([parameter, sort]) => number(sort, step[parameter]))];
  }));
  shown.file = { text, which, count: file.runs.length };
  if (run.why) shown.message = `${run.why} ${shown.message}`;
  if (file.spec_sha256 && file.spec_sha256 !== colofd.sha256) shown.message += " The file was made for another specification.";
  render();
}

function say(message) {
  shown.message = message;
  render();
}

// What is drawn.

function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== false));
  return made;
}

function fillIn(id, ...children) {
  document.getElementById(id).replaceChildren(...children.flat(9));
}

function render() {
  const focused = document.activeElement?.dataset?.key;
  const list = document.querySelector("#run ol");
  const scrolled = list ? list.scrollTop : 0;
  const isOpen = document.querySelector("#steps details")?.open ?? false;
  fillIn("setup", setup());
  fillIn("moves", moves());
  fillIn("said", shown.message);
  fillIn("state", stateView());
  fillIn("steps", stepsView(isOpen));
  fillIn("run", runView());
  keepInView(document.querySelector("#run ol"), scrolled);
  history.replaceState(null, "", address());
  const next = [`[data-key="${CSS.escape(focused ?? "")}"]:not(:disabled)`, ".step", "#moves button:not(:disabled)"];
  if (focused) next.map((each) => document.querySelector(each)).find(Boolean)?.focus();
}

/** Scroll the list of steps, and not the page, to the step that is shown. */
function keepInView(steps, scrolled) {
  const { offsetTop, offsetHeight } = steps.querySelector("[aria-current]");
  steps.scrollTop = Math.max(Math.min(scrolled, offsetTop), offsetTop + offsetHeight - steps.clientHeight);
}

function restart(changed) {
  const { name, control, sizes } = { ...shown, ...changed };
  begin(name, control, sizes, {});
  render();
}

function setup() {
  const number = (size, words) => {
    const [least, most] = LIMITS[size];
    const change = (event) => restart({ sizes: { ...shown.sizes, [size]: Math.min(most, Math.max(least, Number(event.target.value) || least)) } });
    return h("label", null, words, h("input", { type: "number", min: least, max: most, value: shown.sizes[size], "data-key": size, onchange: change }));
  };
  const option = (value, words, chosen) => h("option", { value, selected: value === chosen }, words);
  const names = { receive: "receive path", both: "both sides" };
  const openSpec = (event) => restart({ name: event.target.value, control: "" });
  const openControl = (event) => {
    openAddress(event.target.value ? new URLSearchParams({ control: event.target.value }).toString() : "");
    render();
  };
  return [
    h("label", null, "specification", h("select", { id: "specification", "data-key": "spec", onchange: openSpec }, Object.entries(names).map(([value, words]) => option(value, words, shown.name)))),
    number("channels", "multifd channels"),
    number("pages", "pages"),
    number("values", "contents"),
    shown.name === "both" && number("devices", "device states"),
    h("label", { class: "wide" }, "with a known mistake", h("select", { id: "control", "data-key": "control", onchange: openControl },
      option("", "none: the specification as it is", shown.control), colofd.controls.map((each) => option(each.name, `${each.name}${each.breaks ? ` — breaks ${each.breaks}` : " — harmless"}`, shown.control)))),
    h("label", null, "a run from a file", h("input", { type: "file", id: "file", accept: ".json,application/json", "data-key": "file", onchange: (event) => readFile(event.target.files[0]) })),
    shown.file?.count > 1 && h("label", null, "run", h("select", { "data-key": "which", onchange: (event) => openFile(shown.file.text, Number(event.target.value)) },
      [...Array(shown.file.count).keys()].map((each) => option(`${each}`, `${each + 1} of ${shown.file.count}`, `${shown.file.which}`)))),
  ].filter(Boolean);
}

function readFile(file) {
  file?.text().then(openFile);
}

function go(place) {
  shown.at = Math.min(shown.steps.length, Math.max(0, place));
  shown.message = "";
  render();
}

function moves() {
  const move = (key, words, place) => h("button", { type: "button", "data-key": key, disabled: place < 0 || place > shown.steps.length || place === shown.at, onclick: () => go(place) }, words);
  const copy = () => navigator.clipboard?.writeText(location.href).then(() => say("The address is copied."), () => say("Copy the address of this page: the run is in it."));
  return [
    move("first", "« begin", 0),
    move("undo", "← undo", shown.at - 1),
    move("redo", "forward →", shown.at + 1),
    move("last", "end »", shown.steps.length),
    h("button", { type: "button", "data-key": "copy", onclick: copy }, "copy address"),
    h("span", { id: "place" }, `step ${shown.at} of ${shown.steps.length}`),
  ];
}

function stateView() {
  const state = current();
  const before = shown.at ? shown.states[shown.at - 1] : state;
  const cells = shown.spec.cells;
  const keyed = (...key) => cells.filter((cell) => `${cell.key}` === `${key}`);
  const marked = (old, now) => (JSON.stringify(old) === JSON.stringify(now) ? null : "changed");
  const scalar = (cell) => h("li", { class: marked(before[cell.name], state[cell.name]), title: cell.doc, "data-cell": cell.name }, `${cell.name}: `, value(cell, state[cell.name], []));
  const others = cells.filter((cell) => cell.key.length === 1 && !["Page", "Channel"].includes(cell.key[0]));
  return [
    h("h2", null, "State"),
    clausesView(),
    h("ul", { class: "facts" }, keyed().map(scalar)),
    others.map((cell) => [h("h3", { title: cell.doc }, cell.name), h("ul", { class: "facts" }, shown.members[cell.key[0]].map((member) => {
      const [old, now] = [before[cell.name][member], state[cell.name][member]];
      const text = value(cell, now, [member]);
      return (now || old || typeof text !== "string") && h("li", { class: marked(old, now) }, `${said(cell.key[0], member)}: `, text);
    }))]),
    h("h3", null, "Pages"),
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "pages" }, h("table", { id: "pages" },
      h("tr", null, h("td", null), shown.members.Page.map((page) => h("th", { scope: "col" }, `page ${page}`))),
      keyed("Page").map((cell) => h("tr", { "data-cell": cell.name }, h("th", { scope: "row", title: cell.doc, class: cell.isGhost ? "ghost" : null }, cell.name),
        shown.members.Page.map((page) => h("td", { class: marked(before[cell.name][page], state[cell.name][page]) }, value(cell, state[cell.name][page], [page]))))))),
    h("h3", null, "Channels"),
    shown.members.Channel.map((channel) => lane(channel, state, before, marked)),
  ];
}

/** What a cell holds; before the first step a button where another value is one that runs begin with, too. */
function value(cell, held, key) {
  const text = said(cell.to, held);
  if (shown.at || shown.steps.length) return text;
  const members = cell.to === "bool" ? [false, true] : shown.members[cell.to];
  const with_ = (other) => ({ ...current(), [cell.name]: key.length ? put(current()[cell.name], key, other) : other });
  const next = [...members.slice(members.indexOf(held) + 1), ...members].find((other) => other === held || shown.spec.initial.holds(with_(other), shown.members));
  if (next === held || next === undefined) return text;
  const change = () => {
    begin(shown.name, shown.control, shown.sizes, with_(next));
    render();
  };
  return h("button", { type: "button", "data-key": `${cell.name}/${key}`, "aria-label": `${cell.name} ${key}: ${text}, change`, onclick: change }, text);
}

function lane(channel, state, before, marked) {
  const cells = shown.spec.cells.filter((cell) => cell.key[0] === "Channel");
  const carried = (cell) => shown.members.Page.filter((page) => state[cell.name][channel][page] || before[cell.name][channel][page]).map((page) =>
    h("li", { class: marked(before[cell.name][channel][page], state[cell.name][channel][page]) }, `page ${page}: ${said(cell.to, state[cell.name][channel][page])}`));
  const part = (cell) => {
    const held = state[cell.name][channel];
    if (cell.key.length === 2) return h("ul", { class: "facts", title: cell.doc }, carried(cell));
    if (cell.to === "bool") return h("span", { class: marked(before[cell.name][channel], held), title: cell.doc }, `${cell.name}: ${said("bool", held)}`);
    return h("ol", { class: "stations", title: cell.doc }, shown.members[cell.to].map((member) => h("li", { "aria-current": member === held ? "true" : null }, said(cell.to, member))));
  };
  return h("div", { class: "lane", "data-channel": said("Channel", channel) }, h("strong", null, said("Channel", channel)), cells.map(part));
}

function clausesView() {
  const found = shown.broken[shown.at];
  const text = (clause) => h("div", { class: "bad" }, h("strong", null, h("code", null, clause.id), " does not hold"), h("p", null, clause.doc), h("p", null, h("code", null, clause.text)));
  return [found.length ? found.map(text) : h("p", { id: "holds", class: "words" }, `All ${shown.spec.clauses.length} clauses hold.`)];
}

function stepsView(isOpen) {
  const state = current();
  const possible = [];
  const refused = [];
  for (const rule of shown.spec.rules) {
    const groups = new Map();
    const enabled = [];
    for (const given of choices(rule, shown.members)) {
      const why = failing(rule, state, given);
      const same = why.map((guard) => guard.id + guard.text).join();
      if (!why.length) enabled.push(given);
      else groups.set(same, { why, given: [...(groups.get(same)?.given ?? []), given] });
    }
    if (enabled.length) possible.push([rule, enabled]);
    if (groups.size) refused.push([rule, [...groups.values()].sort((one, two) => one.why.length - two.why.length)]);
  }
  const ofActor = (actor) => possible.filter(([rule]) => rule.by === actor);
  return [
    h("h2", null, "Possible now"),
    possible.length ? null : h("p", null, "Nothing: this is an end."),
    Object.entries(ACTORS).filter(([actor]) => ofActor(actor).length).map(([actor, words]) => [h("h3", null, words), ofActor(actor).map(([rule, enabled]) => ruleView(rule, enabled))]),
    h("details", { open: isOpen }, h("summary", { "data-key": "refused" }, "Not possible now, and why"), refused.map(([rule, groups]) => h("div", { class: "rule", "data-refused": rule.id },
      h("code", { title: rule.doc }, rule.id), h("ul", { class: "why" }, groups.map((group) => h("li", null, givenWords(rule, group.given),
        group.why.map((guard, place) => [place ? "; " : "", h("strong", null, guard.id), ": ", h("code", null, guard.text)]))))))),
  ].filter(Boolean);
}

const argumentWords = (rule, given) => rule.parameters.map(([name, sort], place) => (sort === "Page" || sort === "Value" ? `${name} ${said(sort, given[place])}` : said(sort, given[place]))).join(", ");

function givenWords(rule, all) {
  if (!rule.parameters.length) return "";
  const few = all.slice(0, 3).map((given) => argumentWords(rule, given)).join(" / ");
  return `${few}${all.length > 3 ? ` and ${all.length - 3} more` : ""} — `;
}

function ruleView(rule, enabled) {
  const step = (given) => h("button", {
    type: "button", class: "step", "data-key": `${rule.id}(${given})`, "aria-label": stepName(rule, given),
    onclick: () => { take(rule, given); shown.message = ""; render(); },
  }, given.length ? argumentWords(rule, given) : "take");
  return h("div", { class: "rule" }, h("code", null, rule.id), h("span", { class: "choices" }, enabled.map(step)), h("div", { class: "words" }, rule.doc));
}

function runView() {
  const row = (place) => {
    const fresh = shown.broken[place].filter((clause) => !place || !shown.broken[place - 1].includes(clause));
    return h("li", null, h("button", { type: "button", "data-key": `row ${place}`, "aria-current": place === shown.at ? "step" : null, class: place > shown.at ? "later" : null, onclick: () => go(place) },
      h("span", { class: "number" }, `${place}`), place ? shown.steps[place - 1].name : "begin", fresh.length ? h("span", { class: "breaks" }, ` breaks ${fresh.map((clause) => clause.id).join(", ")}`) : ""));
  };
  return [h("h2", null, "Run"), h("ol", null, shown.states.map((_, place) => row(place))), lastStep()];
}

function lastStep() {
  if (!shown.at) return h("p", { class: "words" }, "Before the first step, the boxed values of the state can be changed.");
  const { rule, name } = shown.steps[shown.at - 1];
  const lines = (title, texts) => [h("h3", null, title), h("ul", { class: "why" }, texts.map((text) => h("li", null, h("code", null, text))))];
  const changed = changes(shown.states[shown.at - 1], current());
  return h("div", { id: "last" }, h("h2", null, name), h("p", null, rule.doc), lines("possible where", rule.guards.map((guard) => `${guard.id}: ${guard.text}`)), lines("what it does, all at once", rule.does), lines("here", changed.length ? changed : ["changes nothing"]));
}

// What the user does beside pressing buttons.

const KEYS = { ArrowLeft: () => shown.at - 1, ArrowRight: () => shown.at + 1, Home: () => 0, End: () => shown.steps.length };

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in KEYS) || event.target.closest("input, select, .scroll")) return;
  event.preventDefault();
  go(KEYS[event.key]());
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  readFile(event.dataTransfer.files[0]);
});
document.getElementById("setup").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", () => {
  openAddress(location.hash);
  render();
});
openAddress(location.hash);
render();
