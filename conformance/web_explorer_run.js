"use strict";
// A run of the specification: its steps, its address, its file. The rules are not here: `colofd` was made from the specification.

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
  const usual = (cell) => colofd.beginning[cell.name] ?? (cell.to === "bool" ? false : 0);
  return Object.fromEntries(spec.cells.map((cell) => [cell.name, fill(cell.key, usual(cell))]));
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
    const isMember = (member, place) => shown.members[rule.parameters[place][1]].includes(member);
    if (!rule || given.length !== rule.parameters.length || !given.every(isMember)) {
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
  return `#${fields.toString().replace(/%(28|29|2C|3A|3B)/g, decodeURIComponent)}`;
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
  if (fields.has("control") && !known) {
    shown.message = `There is no known mistake “${fields.get("control")}” here; this is the specification as it is.`;
  }
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
  const given = spec.cells.filter((cell) => cell.name in run.initial);
  const initial = Object.fromEntries(given.map((cell) => [cell.name, held(cell, run.initial[cell.name])]));
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
