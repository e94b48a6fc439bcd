"use strict";
// Generators side by side under one prompt: all, or two of them with the prompts that tell them apart.

const SIDES = 4, MOST_SAMPLES = 12;
const SIDES_START = { axis: AXES[0], a: "", b: "", order: "gap", page: 0, samples: "best" };
const sides = { ...SIDES_START };
// A page of many rows knows the duels of all rows on one axis only.
const DUELS = W.duels ?? null;
const BY_PROMPT = new Map();

function startIndex() {
  for (const row of scored) {
    const prompt = D.prompt.codes[row], maker = D.by.codes[row];
    if (prompt < 0 || maker < 0) continue;
    if (!BY_PROMPT.has(prompt)) BY_PROMPT.set(prompt, new Map());
    const makers = BY_PROMPT.get(prompt);
    if (!makers.has(maker)) makers.set(maker, []);
    makers.get(maker).push(row);
  }
}

function meanMu(rows) {
  const known = rows.map((row) => muOf(row, sides.axis)).filter((mu) => mu !== null);
  return known.length ? known.reduce((sum, mu) => sum + mu, 0) / known.length : null;
}

// The gap of each prompt: of the first generator over the second, or of the best over the worst.
function gapsOfAll() {
  const found = [];
  const [a, b] = [sides.a, sides.b].map(Number);
  for (const [prompt, makers] of BY_PROMPT) {
    const means = sides.a === "" ? [...makers.values()].map(meanMu).filter((mean) => mean !== null)
      : [a, b].map((maker) => meanMu(makers.get(maker) ?? []));
    if (means.length < 2 || means.includes(null)) continue;
    found.push({ prompt, gap: sides.a === "" ? Math.max(...means) - Math.min(...means) : means[0] - means[1] });
  }
  return found;
}

function gapsKnown() {
  const found = new Map();
  for (const [winner, loser, gap] of DUELS) {
    const pair = [winner, loser].map((row) => String(D.by.codes[row]));
    const prompt = D.prompt.codes[winner];
    const isAhead = pair[0] === sides.a && pair[1] === sides.b;
    if (sides.a !== "" && !isAhead && !(pair[0] === sides.b && pair[1] === sides.a)) continue;
    const signed = sides.a === "" || isAhead ? gap : -gap;
    if (Math.abs(found.get(prompt)?.gap ?? 0) < gap) found.set(prompt, { prompt, gap: signed });
  }
  return [...found.values()];
}

function sideGaps() {
  const found = DUELS ? gapsKnown() : gapsOfAll();
  const by = {
    gap: (one) => -Math.abs(one.gap), ahead: (one) => -one.gap, behind: (one) => one.gap, close: (one) => Math.abs(one.gap),
  }[sides.order];
  const kept = found.filter((one) => (sides.order === "ahead" ? one.gap > 0 : sides.order === "behind" ? one.gap < 0 : true));
  return kept.sort((x, y) => by(x) - by(y) || x.prompt - y.prompt);
}

function side(maker, held) {
  const best = ranked(held, sides.axis);
  const shown = sides.samples === "all" ? best.slice(0, MOST_SAMPLES) : best.slice(0, 1);
  const more = best.length - shown.length;
  return el("div", { class: "side" },
    el("p", { class: "maker" }, dot(maker), el("bdi", {}, D.by.values[maker]), more ? el("small", {}, ` best of ${best.length}`) : null),
    ...shown.map((row) => card(row, { maker: false })));
}

function lineup({ prompt, gap }) {
  const makers = BY_PROMPT.get(prompt) ?? new Map();
  const codes = sides.a === "" ? [...makers.keys()].sort((x, y) => x - y) : [sides.a, sides.b].map(Number).filter((code) => makers.has(code));
  const name = D.prompt.values[prompt];
  const told = sides.a === "" ? `gap ${figure(gap, 2)}`
    : `${cut(D.by.values[Number(gap < 0 ? sides.b : sides.a)])} ahead by ${figure(Math.abs(gap), 2)}`;
  return el("section", { class: "panel lineup" },
    el("header", {}, el("h3", { dir: "auto", title: name }, name), el("span", { class: "note tabular" }, told)),
    el("div", { class: "sides scrolls", tabindex: "0", role: "region", "aria-label": `Generators side by side: ${cut(name)}` },
      ...codes.map((code) => side(code, makers.get(code)))));
}

function sidesNote(total) {
  const names = [sides.a, sides.b].map((code) => D.by.values[Number(code)]);
  const which = sides.a === "" ? "more than one generator" : `scores of both ${names[0]} and ${names[1]}`;
  const sample = DUELS ? `The prompts with the largest gaps of ${count(W.prompts, "prompt")}, between the strongest generators, by overall: ${whole.format(total)} are on this page. `
    : `${count(total, "prompt")} with ${which}, by ${sides.axis}. `;
  return `${sample}The gap is the difference of the generators' mean mu under the prompt.`;
}

function drawSides() {
  const section = $("#sides");
  const found = sideGaps();
  sides.page = Math.min(sides.page, Math.max(0, Math.ceil(found.length / SIDES) - 1));
  const start = sides.page * SIDES;
  $(".note", section).textContent = sidesNote(found.length);
  const none = el("p", { class: "nothing" }, "No prompt on this page: choose other generators or another order.");
  const widest = sides.a === "" ? Math.min(6, D.by.values.length) : 2;
  $(".body", section).style.setProperty("--sides", widest);
  $(".body", section).replaceChildren(...(found.length ? found.slice(start, start + SIDES).map(lineup) : [none]));
  const go = (page) => { sides.page = page; keepFocus($(".pager", section), drawSides); noteState("sides"); };
  pager($(".pager", section), found.length, SIDES, sides.page, go, "prompts");
  for (const [key, input] of Object.entries(sideFields)) input.value = sides[key];
}

// Two different generators, or none.
function changeSides(change) {
  Object.assign(sides, { page: 0 }, change);
  const other = (code) => String(D.by.values.findIndex((_, at) => String(at) !== code));
  if ("a" in change && change.a !== "" && (sides.b === "" || sides.b === change.a)) sides.b = other(sides.a);
  if ("b" in change && change.b !== "" && (sides.a === "" || sides.a === change.b)) sides.a = other(sides.b);
  if (change.a === "" || change.b === "") sides.a = sides.b = "";
  drawSides();
  noteState("sides");
}

function showPair(a, b) {
  changeSides({ a: String(a), b: String(b), order: "ahead", axis: DUELS ? AXES[0] : board.axis });
  $("#sides").scrollIntoView();
  $("#sides").focus({ preventScroll: true });
}

const sideFields = {};
function sideField(key, label, options) {
  const list = choice(label, options, sides[key], (value) => changeSides({ [key]: value }));
  sideFields[key] = $("select", list);
  return list;
}

function startSides() {
  if (!D.by || D.by.values.length < 2) return;
  startIndex();
  if (![...BY_PROMPT.values()].some((makers) => makers.size > 1)) return;
  $("#sides").hidden = false;
  const makers = [["", "all"], ...D.by.values.map((name, code) => [String(code), name])];
  const orders = [["gap", "Largest gap"], ["ahead", "Ahead"], ["behind", "Behind"], ...(DUELS ? [] : [["close", "Closest"]])];
  $("#sides .tools").append(
    ...(DUELS ? [] : [sideField("axis", "Axis", AXES.map((axis) => [axis, named(axis)]))]),
    sideField("a", "Generator", makers), sideField("b", "Against", makers), sideField("order", "Order", orders),
    sideField("samples", "Samples", [["best", "Best"], ["all", "All"]]));
  drawSides();
  addToAddress(
    () => changed({ ...sides, a: D.by.values[sides.a] ?? "", b: D.by.values[sides.b] ?? "" }, SIDES_START,
      { axis: "s.axis", a: "s.first", b: "s.second", order: "s.order", page: "s.page", samples: "s.samples" }),
    (values) => {
      const code = (name) => { const at = D.by.values.indexOf(values.get(name)); return at < 0 ? "" : String(at); };
      Object.assign(sides, SIDES_START, {
        axis: known(values.get("s.axis"), AXES), order: known(values.get("s.order"), orders.map(([key]) => key)),
        samples: known(values.get("s.samples"), ["best", "all"]), a: code("s.first"), b: code("s.second"),
      });
      if (sides.a === "" || sides.b === "" || sides.a === sides.b) sides.a = sides.b = "";
      sides.page = pageIn(values, "s.page", Math.ceil(sideGaps().length / SIDES));
      drawSides();
    });
}
