"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// What colour a set has, in the order in which they are stacked.
const KINDS = [
  { name: "admit, embed", colour: "begin", sets: ["Admit", "Embed"] },
  { name: "norm", colour: "norm", sets: ["MixerNorm", "MlpNorm"] },
  { name: "mixer", colour: "mixer", sets: ["Mixer"] },
  { name: "MLP", colour: "mlp", sets: ["Mlp"] },
  { name: "head", colour: "head", sets: ["Head"] },
  { name: "waiting for a device", colour: "await", sets: ["Await"] },
  { name: "sampling, emitting", colour: "sample", sets: ["Constrain", "Sample", "Emit"] },
  { name: "systems in no set", colour: "host", sets: [""] },
];
const BETWEEN = { name: "between systems", colour: "between" };
const LEFT = { name: "left of the budget", colour: "left" };
const kindOf = (set) => KINDS.find((kind) => kind.sets.includes(set)) ?? KINDS.at(-1);

// Text goes in as text: names come from outside.
function element(tag, attributes = {}, ...children) {
  const isSvg = ["svg", "rect", "line", "path", "g", "text", "title"].includes(tag);
  const made = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") {
      for (const [property, setting] of Object.entries(value)) made.style.setProperty(property, setting);
    } else if (name.startsWith("on")) {
      made.addEventListener(name.slice(2), value);
    } else {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

function digits(value, most = 3) {
  const after = Math.max(0, most - Math.max(1, Math.floor(Math.log10(Math.abs(value) || 1)) + 1));
  return value.toLocaleString("en", { minimumFractionDigits: after, maximumFractionDigits: after });
}
const ms = (microseconds) => `${digits(microseconds / 1e3)} ms`;
const time = (microseconds) => (Math.abs(microseconds) < 1e3 ? `${digits(microseconds)} µs` : ms(microseconds));
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const part = (share) => `${(100 * share).toFixed(2)}%`;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const plural = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

function legend(list, kinds) {
  list.replaceChildren(
    ...kinds.map(({ kind, note }) =>
      element("li", { class: kind.colour, style: { "--kind": `var(--${kind.colour})` } }, kind.name + (note ? ` ${note}` : ""))),
  );
}

function facts() {
  const list = byId("facts");
  const add = (name, value) => list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  data.facts.forEach(([name, value]) => add(name, value));
  for (const phase of data.phases.filter((phase) => phase.name !== "idle")) {
    add(`${phase.name} steps`, `${phase.steps.toLocaleString("en")} of ${ms(phase.total / phase.steps)}`);
  }
}

// The tables.

const COLUMNS = [
  { name: "system", field: "system" },
  { name: "set", field: "set" },
  { name: "calls", field: "calls", show: (value) => value.toLocaleString("en") },
  { name: "total ms", field: "total", show: (value) => digits(value / 1e3) },
  { name: "share", field: "share", show: percent },
  { name: "mean µs", field: "mean", show: (value) => digits(value) },
  { name: "p50 µs", field: "p50", show: (value) => digits(value) },
  { name: "p99 µs", field: "p99", show: (value) => digits(value) },
  { name: "MB", field: "bytes", show: (value) => digits(value / 1e6) },
  { name: "GB/s", field: "bandwidth", show: (value) => digits(value / 1e9) },
  { name: "GFLOP/s", field: "speed", show: (value) => digits(value / 1e9) },
  { name: "of memory's speed", field: "of_memory", show: (value) => `${(100 * value).toFixed(0)} %` },
];
const isText = (column) => column.show === undefined;

function costTable(phase) {
  const body = element("tbody");
  const heads = COLUMNS.map((column) => {
    const head = element("th", { scope: "col", class: isText(column) ? "name" : "" });
    head.append(element("button", { type: "button", onclick: () => sortBy(column, head) }, column.name));
    return head;
  });
  function fill(rows) {
    body.replaceChildren(...rows.map((row) => element("tr", {}, ...COLUMNS.map((column) => {
      const value = row[column.field];
      const shown = isText(column) ? value : value === null || value === 0 ? "–" : column.show(value);
      const cell = element("td", { class: isText(column) ? "name" : column.field }, shown);
      if (column.field === "share") cell.style.setProperty("--part", part(value ?? 0));
      return cell;
    }))));
  }
  function sortBy(column, head) {
    const descends = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : !isText(column);
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descends ? "descending" : "ascending");
    const order = (a, b) => isText(column)
      ? a[column.field].localeCompare(b[column.field])
      : (a[column.field] ?? -1) - (b[column.field] ?? -1);
    fill([...phase.rows].sort((a, b) => (descends ? order(b, a) : order(a, b))));
  }
  fill(phase.rows);
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
  const heading = `${phase.name}: ${plural(phase.steps, "step")} of ${ms(phase.total / phase.steps)} in systems`;
  return [element("h3", {}, heading), element("div", { class: "scroll", tabindex: 0, "aria-label": heading }, table)];
}

// Where in `all` the one is whose number is nearest: some are left out.
function nearest(all, number) {
  const distances = all.map((one) => Math.abs(one.number - number));
  return distances.indexOf(Math.min(...distances));
}

// One step.

const steps = data.steps.map((step) => ({ ...step, time: Math.max(0, ...step.runs.map((run) => run[3] + run[4])) }));
let chosenStep = 0;

function segment(kind, length, whole, text) {
  const say = () => { byId("step-readout").textContent = text; };
  return element("span", {
    title: text, style: { "--kind": `var(--${kind.colour})`, width: part(length / whole) }, onpointerover: say, onclick: say,
  });
}

function sequencesOf(step) {
  const shown = step.sequences.slice(0, 6).map(([name, rows, position]) => `${name} (${plural(rows, "row")} from position ${position})`);
  const more = step.sequences.length - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function showStep(index) {
  chosenStep = Math.min(Math.max(index, 0), steps.length - 1);
  const step = steps[chosenStep];
  byId("step-number").value = step.number;
  byId("step-before").disabled = chosenStep === 0;
  byId("step-after").disabled = chosenStep === steps.length - 1;
  const calls = new Set(step.runs.map((run) => run[2]));
  byId("step-about").textContent = `Step ${step.number}, ${step.phase}: ${time(step.time)} in ${plural(calls.size, "call")}. ` +
    `${plural(step.rows, "row")}: ${sequencesOf(step)}.`;
  byId("step-readout").textContent = "Point at a part to see what it is.";
  const runs = step.runs.map(([system, layer, call, start, took]) => {
    const [name, set] = data.systems[system];
    return { name, set, layer, call, start, took, kind: kindOf(set) };
  });
  // A step that was cut rests between two calls; that is the host's time, not the step's.
  const rests = sum(runs.slice(1).map((run, before) =>
    run.call === runs[before].call ? 0 : run.start - runs[before].start - runs[before].took));
  const parts = KINDS.map((kind) => ({ kind, took: sum(runs.filter((run) => run.kind === kind).map((run) => run.took)) }));
  const between = Math.max(0, step.time - rests - sum(parts.map((part) => part.took)));
  parts.push({ kind: BETWEEN, took: between });
  const shown = parts.filter((part) => part.took > 0);
  const whole = sum(shown.map((part) => part.took));
  legend(byId("step-legend"), shown.map(({ kind, took }) => ({ kind, note: time(took) })));
  byId("whole").replaceChildren(...shown.map(({ kind, took }) =>
    segment(kind, took, whole, `${kind.name}: ${time(took)}, ${percent(took / whole)} of the step`)));
  showLayers(runs);
  for (const bar of byId("strip").querySelectorAll(".column")) {
    bar.classList.toggle("chosen", Number(bar.dataset.index) === chosenStep);
  }
}

function showLayers(runs) {
  const layers = Map.groupBy(runs.filter((run) => run.layer !== null), (run) => run.layer);
  const rows = [...layers].map(([layer, of]) => ({ label: layer, of }));
  const rest = { of: runs.filter((run) => run.layer === null) };
  const longest = Math.max(...rows.map((row) => sum(row.of.map((run) => run.took))));
  const row = ({ label, of }, whole) => {
    const took = sum(of.map((run) => run.took));
    const mixer = of.find((run) => run.set === "Mixer")?.name ?? "";
    const name = label === undefined ? "" : `${label} `;
    return element("div", { class: "layer" },
      element("div", { class: "label", title: `${name}${mixer}` }, name, element("small", {}, mixer)),
      element("div", { class: "stack" }, ...of.map((run) => segment(run.kind, run.took, whole,
        `${label === undefined ? "" : `layer ${label}, `}${run.name}${run.set ? ` (${run.set})` : ""}: ${time(run.took)}`))),
      element("div", { class: "time" }, time(took)));
  };
  const restTook = sum(rest.of.map((run) => run.took));
  byId("layers").replaceChildren(
    element("h3", {}, "Layers"), element("p", {}, `The longest fills the width: ${time(longest)}.`),
    ...rows.map((one) => row(one, longest)),
    element("h3", {}, "Before and after them"),
    row(rest, restTook));
}

function drawStrip() {
  const strip = byId("strip");
  const [width, height] = [strip.clientWidth, 84];
  const most = Math.max(...steps.map((step) => step.time));
  const least = Math.min(...steps.map((step) => step.time)) / 1.5;
  const tall = (took) => Math.max(2, (height * Math.log(took / least)) / Math.log(most / least));
  const each = Math.min(24, width / steps.length);
  strip.replaceChildren(element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "presentation" },
    ...steps.map((step, index) => element("g", { class: "column", "data-index": index, onclick: () => showStep(index) },
      element("title", {}, `step ${step.number}, ${step.phase}: ${time(step.time)}`),
      element("rect", { class: "target", x: index * each, y: 0, width: each, height }),
      element("rect", {
        x: index * each, y: height - tall(step.time), width: Math.max(1, each - (each > 3 ? 1 : 0)), height: tall(step.time),
        style: { fill: step.phase === "prompt" ? "var(--norm)" : "var(--mixer)" },
      })))));
}

function stepsSection() {
  if (steps.length === 0) {
    byId("step").hidden = true;
    return;
  }
  const left = data.steps_left_out;
  byId("steps-note").textContent = `Each bar is a step, yellow where it reads a prompt and blue where it only generates; heights are ` +
    `logarithmic. Click one.` + (left > 0 ? ` ${plural(left, "step")} of ${(left + steps.length).toLocaleString("en")} left out: ` +
    `shown are the first ones, and the longest of the rest.` : "");
  byId("step-before").onclick = () => showStep(chosenStep - 1);
  byId("step-after").onclick = () => showStep(chosenStep + 1);
  byId("step-number").onchange = (event) => {
    showStep(nearest(steps, Number(event.target.value)));
  };
  const decodes = steps.filter((step) => step.phase === "decode");
  byId("step-slowest").hidden = decodes.length === 0;
  byId("step-slowest").onclick = () =>
    showStep(steps.indexOf(decodes.reduce((slowest, step) => (step.time > slowest.time ? step : slowest))));
  drawStrip();
  // As long as half of those that generate: the usual one.
  const usual = [...decodes].sort((a, b) => a.time - b.time)[decodes.length >> 1];
  showStep(usual === undefined ? 0 : steps.indexOf(usual));
}

// The calls.

const calls = data.calls.map((call) => {
  const parts = KINDS.map((kind) => ({ kind, took: sum(kind.sets.map((set) => call.sets[set] ?? 0)) }));
  parts.push({ kind: BETWEEN, took: Math.max(0, call.used - sum(parts.map((part) => part.took))) });
  return { ...call, parts: parts.filter((part) => part.took > 0) };
});
let firstCall = 0;
let chosenCall = 0;

const callsShown = () => Math.max(10, Math.floor((byId("columns").clientWidth - 48) / 11));

// Round numbers up to `most`, some five of them.
function ticks(most) {
  const step = 10 ** Math.floor(Math.log10(most / 4));
  const round = [1, 2, 5, 10].map((times) => times * step).find((size) => most / size <= 6);
  return Array.from({ length: Math.floor(most / round) + 1 }, (_, index) => index * round);
}

function drawCalls() {
  const box = byId("columns");
  const [width, height, left, top] = [box.clientWidth, 220, 48, 8];
  const shown = calls.slice(firstCall, firstCall + callsShown());
  const used = Math.max(...shown.map((call) => call.used));
  const budgets = shown.map((call) => call.budget ?? 0);
  // A budget that is far above all that was used would press the rest flat.
  const inSight = (budget) => budget !== null && budget <= 4 * used;
  const most = 1.05 * Math.max(used, ...budgets.filter(inSight));
  const y = (microseconds) => top + (height - top) * (1 - microseconds / most);
  const each = 11;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height + 18}`, height: height + 18, role: "presentation" });
  for (const tick of ticks(most)) {
    const at = y(tick);
    svg.append(
      element("line", { class: "axis", x1: left, x2: width, y1: at, y2: at }),
      element("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, String(Number((tick / 1e3).toPrecision(3)))));
  }
  shown.forEach((call, index) => {
    const x = left + index * each;
    const column = element("g", { class: "column", "data-index": firstCall + index, onclick: () => showCall(firstCall + index) },
      element("title", {}, `call ${call.number}: ${time(call.used)}${call.budget === null ? "" : ` of ${time(call.budget)}`}`));
    const bar = (kind, from, to) => column.append(element("rect", {
      x: x + 1, y: y(to), width: each - 2, height: Math.max(0, y(from) - y(to)), style: { fill: `var(--${kind.colour})` },
    }));
    let at = 0;
    for (const { kind, took } of call.parts) {
      bar(kind, at, at + took);
      at += took;
    }
    if (inSight(call.budget) && call.budget > call.used) bar(LEFT, call.used, Math.min(call.budget, most));
    column.append(element("rect", { class: "target", x, y: top, width: each, height: height - top }));
    svg.append(column);
    if (inSight(call.budget)) {
      svg.append(element("line", { class: "budget", x1: x, x2: x + each, y1: y(call.budget), y2: y(call.budget) }));
    }
    if (index % 10 === 0) svg.append(element("text", { x, y: height + 14 }, call.number));
  });
  const above = budgets.filter((budget) => budget > 0 && !inSight(budget));
  if (above.length > 0) {
    svg.append(element("text", { class: "note", x: width, y: top + 4, "text-anchor": "end" },
      `above the chart: budgets of ${time(Math.max(...above))}`));
  }
  box.replaceChildren(svg);
  const last = Math.max(0, calls.length - callsShown());
  const range = byId("calls-first");
  range.max = last;
  range.value = firstCall;
  byId("calls-range").hidden = last === 0;
  byId("calls-before").disabled = firstCall === 0;
  byId("calls-after").disabled = firstCall >= last;
  markCall();
}

function markCall() {
  for (const column of byId("columns").querySelectorAll(".column")) {
    column.classList.toggle("chosen", Number(column.dataset.index) === chosenCall);
  }
}

function showCall(index) {
  chosenCall = index;
  if (index < firstCall || index >= firstCall + callsShown()) moveCalls(index);
  markCall();
  const call = calls[index];
  byId("call-number").value = call.number;
  const budget = call.budget !== null ? time(call.budget) : call.pieces !== null ? plural(call.pieces, "piece") : "to the end of the step";
  const rows = call.parts.map(({ kind, took }) => [kind.name, time(took), percent(took / call.used)]);
  const rest = call.budget === null ? null : call.budget - call.used;
  const steps = call.steps.length === 0 ? "no step" : `step ${call.steps.join(", ")}`;
  byId("call-about").replaceChildren(
    element("h3", {}, `Call ${call.number}: ${time(call.used)}, ${call.progress ?? "unfinished"}`),
    element("p", {}, `Budget: ${budget}. ${steps[0].toUpperCase()}${steps.slice(1)}. ` +
      `It began ${ms(call.start)} after profiling.`),
    element("table", {}, element("tbody", {},
      ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))),
      ...(rest === null ? [] : [element("tr", { class: rest < 0 ? "over" : "" },
        element("td", {}, rest < 0 ? "beyond the budget" : LEFT.name), element("td", {}, time(Math.abs(rest))),
        element("td", {}, `${percent(Math.abs(rest) / call.budget)} of it`))]))));
}

function moveCalls(first) {
  firstCall = Math.min(Math.max(0, first), Math.max(0, calls.length - callsShown()));
  drawCalls();
}

function callsSection() {
  if (calls.length === 0) {
    byId("calls").hidden = true;
    return;
  }
  const within = calls.filter((call) => call.budget !== null);
  const over = within.filter((call) => call.used > call.budget);
  const worst = Math.max(0, ...over.map((call) => call.used - call.budget));
  const left = data.calls_left_out;
  const kinds = KINDS.filter((kind) => calls.some((call) => call.parts.some((part) => part.kind === kind)));
  legend(byId("calls-legend"), [...kinds, BETWEEN, ...(within.length > 0 ? [LEFT] : [])].map((kind) => ({ kind })));
  const budgets = within.length === 0
    ? "None had a budget of time."
    : `${plural(within.length, "call")} had a budget of time (the red line), ${plural(over.length, "call")} took more` +
      (over.length > 0 ? `, ${time(worst)} at most.` : ".");
  byId("calls-note").textContent = `Each column is a call of advance, in ms. Within a budget of time, a call goes on with the next ` +
    `step as long as there is one and it is expected to fit. ${budgets}` + (left > 0 ? ` ${plural(left, "call")} of ${(left + calls.length).toLocaleString("en")} left ` +
    `out: shown are the first ones, and the longest of the rest.` : "");
  byId("calls-before").onclick = () => moveCalls(firstCall - callsShown());
  byId("calls-after").onclick = () => moveCalls(firstCall + callsShown());
  byId("call-number").onchange = (event) => showCall(nearest(calls, Number(event.target.value)));
  byId("calls-first").oninput = (event) => moveCalls(Number(event.target.value));
  drawCalls();
  showCall(0);
}

facts();
data.phases.forEach((phase) => byId("costs").append(...costTable(phase)));
if (data.phases.some((phase) => phase.rows.some((row) => row.on_device))) {
  byId("on-device").textContent = " Systems that had a device do something stand with the device's time, which is once more in that of " +
    "await_answer, where the host waits for it; the charts below have the host's time.";
}
stepsSection();
callsSection();
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    if (steps.length > 0) drawStrip();
    if (steps.length > 0) showStep(chosenStep);
    if (calls.length > 0) moveCalls(firstCall);
  });
});
