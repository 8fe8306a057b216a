// What is drawn of a run, and what the user does. After each change all is drawn anew.

const ACTORS = { primary: "The primary", receiver: "The receiver", guest: "The secondary's guest", environment: "The environment" };
const SPECIFICATIONS = { receive: "receive path", both: "both sides" };

function say(message) {
  shown.message = message;
  render();
}

/** Return an element; attributes that begin with "on" are what happens then, and children may be in lists. */
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

const code = (text, title = null) => h("code", { title }, text);

function button(key, words, onclick, attributes = {}) {
  return h("button", { type: "button", "data-key": key, onclick, ...attributes }, words);
}

function render() {
  const focused = document.activeElement?.dataset?.key;
  const scrolled = document.querySelector("#run ol")?.scrollTop ?? 0;
  const isOpen = document.querySelector("#steps details")?.open ?? false;
  const parts = { setup: setup(), moves: moves(), said: [shown.message], state: stateView(), steps: stepsView(isOpen), run: runView() };
  for (const [id, children] of Object.entries(parts)) document.getElementById(id).replaceChildren(...children.flat(9).filter(Boolean));
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

// What is explored.

function restart(changed) {
  const { name, control, sizes } = { ...shown, ...changed };
  begin(name, control, sizes, {});
  render();
}

function number(size, words) {
  const [least, most] = LIMITS[size];
  const change = ({ target }) => {
    const count = Math.min(most, Math.max(least, Number(target.value) || least));
    restart({ sizes: { ...shown.sizes, [size]: count } });
  };
  const attributes = { type: "number", min: least, max: most, value: shown.sizes[size], "data-key": size, onchange: change };
  return h("label", null, words, h("input", attributes));
}

/** Return a menu; `options` are pairs of a value and its words. */
function menu(key, words, options, chosen, onchange) {
  const listed = options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  const select = h("select", { id: key, "data-key": key, onchange: ({ target }) => onchange(target.value) }, listed);
  return h("label", { class: key === "control" ? "wide" : null }, words, select);
}

function openControl(control) {
  openAddress(control ? new URLSearchParams({ control }).toString() : "");
  render();
}

function setup() {
  const controls = colofd.controls.map(({ name, breaks }) => [name, `${name} — ${breaks ? `breaks ${breaks}` : "harmless"}`]);
  const runs = [...Array(shown.file?.count ?? 0).keys()].map((each) => [`${each}`, `${each + 1} of ${shown.file.count}`]);
  const accept = ".json,application/json";
  return [
    menu("specification", "specification", Object.entries(SPECIFICATIONS), shown.name, (name) => restart({ name, control: "" })),
    number("channels", "multifd channels"),
    number("pages", "pages"),
    number("values", "contents"),
    shown.name === "both" && number("devices", "device states"),
    menu("control", "with a known mistake", [["", "none: the specification as it is"], ...controls], shown.control, openControl),
    h("label", null, "a run from a file", h("input", {
      type: "file", id: "file", accept, "data-key": "file", onchange: ({ target }) => readFile(target.files[0]),
    })),
    runs.length > 1 && menu("which", "run", runs, `${shown.file.which}`, (which) => openFile(shown.file.text, Number(which))),
  ];
}

function readFile(file) {
  file?.text().then((text) => openFile(text));
}

// Along the run.

function go(place) {
  shown.at = Math.min(shown.steps.length, Math.max(0, place));
  shown.message = "";
  render();
}

function copyAddress() {
  const failed = () => say("Copy the address of this page: the run is in it.");
  if (navigator.clipboard) navigator.clipboard.writeText(location.href).then(() => say("The address is copied."), failed);
  else failed();
}

function moves() {
  const move = (key, words, place) => {
    const disabled = place < 0 || place > shown.steps.length || place === shown.at;
    return button(key, words, () => go(place), { disabled });
  };
  return [
    move("first", "« begin", 0),
    move("undo", "← undo", shown.at - 1),
    move("redo", "forward →", shown.at + 1),
    move("last", "end »", shown.steps.length),
    button("copy", "copy address", copyAddress),
    h("span", { id: "place" }, `step ${shown.at} of ${shown.steps.length}`),
  ];
}

// The state.

/** Return whether something was changed by the last step, as a class. */
const marked = (old, now) => (JSON.stringify(old) === JSON.stringify(now) ? null : "changed");

function stateView() {
  const state = current();
  const before = shown.at ? shown.states[shown.at - 1] : state;
  const keyed = (sort) => shown.spec.cells.filter((cell) => `${cell.key}` === sort);
  const others = shown.spec.cells.filter((cell) => cell.key.length === 1 && !["Page", "Channel"].includes(cell.key[0]));
  const scalar = (cell) => {
    const attributes = { class: marked(before[cell.name], state[cell.name]), title: cell.doc, "data-cell": cell.name };
    return h("li", attributes, `${cell.name}: `, value(cell, state[cell.name], []));
  };
  return [
    h("h2", null, "State"),
    clausesView(),
    h("ul", { class: "facts" }, keyed("").map(scalar)),
    others.map((cell) => listView(cell, before[cell.name], state[cell.name])),
    h("h3", null, "Pages"),
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "pages" }, pagesView(keyed("Page"), before, state)),
    h("h3", null, "Channels"),
    shown.members.Channel.map((channel) => lane(channel, state, before)),
  ];
}

/** Return the members for which a cell holds something, or has held it, or may hold it at first. */
function listView(cell, before, now) {
  const item = (member) => {
    const text = value(cell, now[member], [member]);
    const isShown = now[member] || before[member] || typeof text !== "string";
    return isShown && h("li", { class: marked(before[member], now[member]) }, `${said(cell.key[0], member)}: `, text);
  };
  return [h("h3", { title: cell.doc }, cell.name), h("ul", { class: "facts" }, shown.members[cell.key[0]].map(item))];
}

function pagesView(cells, before, state) {
  const held = (cell, page) => {
    const now = state[cell.name][page];
    return h("td", { class: marked(before[cell.name][page], now) }, value(cell, now, [page]));
  };
  const row = (cell) => h("tr", { "data-cell": cell.name },
    h("th", { scope: "row", title: cell.doc, class: cell.isGhost ? "ghost" : null }, cell.name),
    shown.members.Page.map((page) => held(cell, page)));
  const heads = shown.members.Page.map((page) => h("th", { scope: "col" }, `page ${page}`));
  return h("table", { id: "pages" }, h("tr", null, h("td", null), heads), cells.map(row));
}

/** Return what a cell holds; before the first step as a button, where runs begin with another value, too. */
function value(cell, held, key) {
  const text = said(cell.to, held);
  if (shown.steps.length) return text;
  const members = cell.to === "bool" ? [false, true] : shown.members[cell.to];
  const changed = (other) => ({ ...current(), [cell.name]: key.length ? put(current()[cell.name], key, other) : other });
  const following = [...members.slice(members.indexOf(held) + 1), ...members.slice(0, members.indexOf(held))];
  const next = following.find((other) => shown.spec.initial.holds(changed(other), shown.members));
  if (next === undefined) return text;
  const change = () => {
    begin(shown.name, shown.control, shown.sizes, changed(next));
    render();
  };
  return button(`${cell.name}/${key}`, text, change, { "aria-label": `${cell.name} ${key}: ${text}, change` });
}

function lane(channel, state, before) {
  const part = (cell) => {
    const [old, now] = [before[cell.name][channel], state[cell.name][channel]];
    if (cell.key.length === 2) return carriedView(cell, old, now);
    if (cell.to === "bool") return h("span", { class: marked(old, now), title: cell.doc }, `${cell.name}: ${said("bool", now)}`);
    const station = (member) => h("li", { "aria-current": member === now ? "true" : null }, said(cell.to, member));
    return h("ol", { class: "stations", title: cell.doc }, shown.members[cell.to].map(station));
  };
  const name = said("Channel", channel);
  const cells = shown.spec.cells.filter((cell) => cell.key[0] === "Channel");
  return h("div", { class: "lane", "data-channel": name }, h("strong", null, name), cells.map(part));
}

function carriedView(cell, old, now) {
  const pages = shown.members.Page.filter((page) => now[page] || old[page]);
  const item = (page) => h("li", { class: marked(old[page], now[page]) }, `page ${page}: ${said(cell.to, now[page])}`);
  return h("ul", { class: "facts", title: cell.doc }, pages.map(item));
}

function clausesView() {
  const found = shown.broken[shown.at];
  if (!found.length) return h("p", { id: "holds", class: "words" }, `All ${shown.spec.clauses.length} clauses hold.`);
  const head = (clause) => h("strong", null, code(clause.id), " does not hold");
  return found.map((clause) => h("div", { class: "bad" }, head(clause), h("p", null, clause.doc), h("p", null, code(clause.text))));
}

// The steps.

/** Return for a rule what is possible, and what is not, by the guards that do not hold: the least first. */
function sorted(rule) {
  const enabled = [];
  const refused = new Map();
  for (const given of choices(rule, shown.members)) {
    const why = failing(rule, current(), given);
    const same = why.map((guard) => guard.id + guard.text).join();
    if (!why.length) enabled.push(given);
    else refused.set(same, { why, given: [...(refused.get(same)?.given ?? []), given] });
  }
  return { rule, enabled, refused: [...refused.values()].sort((one, two) => one.why.length - two.why.length) };
}

function stepsView(isOpen) {
  const found = shown.spec.rules.map(sorted);
  const ofActor = ([actor, words]) => {
    const its = found.filter(({ rule, enabled }) => rule.by === actor && enabled.length);
    return its.length && [h("h3", null, words), its.map(ruleView)];
  };
  return [
    h("h2", null, "Possible now"),
    !found.some(({ enabled }) => enabled.length) && h("p", null, "Nothing: this is an end."),
    Object.entries(ACTORS).map(ofActor).filter(Boolean),
    h("details", { open: isOpen },
      h("summary", { "data-key": "refused" }, "Not possible now, and why"),
      found.filter(({ refused }) => refused.length).map(refusedView)),
  ];
}

function argumentWords(rule, given) {
  const isNumber = (sort) => sort === "Page" || sort === "Value";
  return rule.parameters.map(([name, sort], place) => `${isNumber(sort) ? `${name} ` : ""}${said(sort, given[place])}`).join(", ");
}

function ruleView({ rule, enabled }) {
  const step = (given) => {
    const act = () => {
      take(rule, given);
      say("");
    };
    const attributes = { class: "step", "aria-label": stepName(rule, given) };
    return button(`${rule.id}(${given})`, given.length ? argumentWords(rule, given) : "take", act, attributes);
  };
  const buttons = h("span", { class: "choices" }, enabled.map(step));
  return h("div", { class: "rule" }, code(rule.id), buttons, h("div", { class: "words" }, rule.doc));
}

function refusedView({ rule, refused }) {
  const guards = (why) => why.map((guard, place) => [place ? "; " : "", h("strong", null, guard.id), ": ", code(guard.text)]);
  const items = refused.map(({ why, given }) => h("li", null, givenWords(rule, given), guards(why)));
  return h("div", { class: "rule", "data-refused": rule.id }, code(rule.id, rule.doc), h("ul", { class: "why" }, items));
}

function givenWords(rule, all) {
  if (!rule.parameters.length) return "";
  const few = all.slice(0, 3).map((given) => argumentWords(rule, given)).join(" / ");
  return `${few}${all.length > 3 ? ` and ${all.length - 3} more` : ""} — `;
}

// The run.

function runView() {
  const row = (place) => {
    const fresh = shown.broken[place].filter((clause) => !place || !shown.broken[place - 1].includes(clause));
    const breaks = fresh.length > 0 && h("span", { class: "breaks" }, ` breaks ${fresh.map((clause) => clause.id).join(", ")}`);
    const words = [h("span", { class: "number" }, `${place}`), place ? shown.steps[place - 1].name : "begin", breaks];
    const attributes = { "aria-current": place === shown.at ? "step" : null, class: place > shown.at ? "later" : null };
    return h("li", null, button(`row ${place}`, words, () => go(place), attributes));
  };
  return [h("h2", null, "Run"), h("ol", null, shown.states.map((_, place) => row(place))), lastStep()];
}

function lastStep() {
  if (!shown.at) return h("p", { class: "words" }, "Before the first step, the boxed values of the state can be changed.");
  const { rule, name } = shown.steps[shown.at - 1];
  const lines = (title, texts) => [h("h3", null, title), h("ul", { class: "why" }, texts.map((text) => h("li", null, code(text))))];
  const changed = changes(shown.states[shown.at - 1], current());
  return h("div", { id: "last" },
    h("h2", null, name),
    h("p", null, rule.doc),
    lines("possible where", rule.guards.map((guard) => `${guard.id}: ${guard.text}`)),
    lines("what it does, all at once", rule.does),
    lines("here", changed.length ? changed : ["changes nothing"]));
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
