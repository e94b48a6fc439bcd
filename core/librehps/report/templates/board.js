"use strict";
// The leaderboard: standings with intervals, and pairwise win rates.

const ALPHA = 0.05;
const board = { axis: null, category: "" };
let boardStart = null;

const boardsOf = (axis) => D.leaderboard.boards.filter((one) => one.axis === axis);

function extent(intervals, least, most) {
  const ends = intervals.flat().filter((value) => value !== null);
  const low = Math.min(...ends), high = Math.max(...ends);
  const room = Math.max(0.06 * (high - low), 1e-6);
  return [Math.max(least, low - room), Math.min(most, high + room)];
}

function interval([value, low, high], [from, to], tint) {
  const at = (x) => `${(100 * (x - from)) / (to - from || 1)}%`;
  const track = el("span", { class: "interval" });
  if (low !== null && high !== null)
    track.append(el("span", { class: "range", css: { left: at(low), width: `calc(${at(high)} - ${at(low)})`, background: tint } }));
  if (value !== null) track.append(el("span", { class: "point", css: { left: at(value), background: tint } }));
  return track;
}

function intervalCell(of, span, tint) {
  const [value, low, high] = of;
  const title = low === null || high === null ? "no interval" : `95 %: ${figure(low)} to ${figure(high)}`;
  return el("td", {}, el("div", { class: "measured", title },
    interval(of, span, tint), el("span", { class: "tabular" }, figure(value)),
    el("span", { class: "hidden" }, title)));
}

function standingsTable(one) {
  const means = extent(one.standings.map((s) => s.mean), 0, 1);
  const strengths = extent(one.standings.map((s) => s.strength), -Infinity, Infinity);
  const failed = one.standings.some((s) => s.errors);
  const names = ["Rank", "Generator", "Mean", "Strength", "Win rate", "Scored", ...(failed ? ["Errors"] : [])];
  // Narrow screens stack the cells, each with its label.
  const label = (cell, name) => { cell.dataset.label = name; return cell; };
  const body = one.standings.map((s) => {
    const code = D.by ? D.by.values.indexOf(s.generator) : -1;
    return el("tr", {},
      el("td", { class: "rank tabular" }, String(s.rank)),
      el("th", { scope: "row" }, dot(code), el("bdi", {}, s.generator)),
      label(intervalCell(s.mean, means, `var(--${one.axis})`), "Mean"),
      label(intervalCell(s.strength, strengths, "var(--ink-soft)"), "Strength"),
      el("td", { class: "number", "data-label": "Win rate" }, share(s.win_rate)),
      el("td", { class: "number", "data-label": "Scored" }, whole.format(s.scored)),
      failed ? el("td", { class: "number", "data-label": "Errors" }, whole.format(s.errors)) : null);
  });
  return el("table", { class: "standings stacks" },
    el("caption", { class: "hidden" }, "Standings"),
    el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col", class: ["Win rate", "Scored", "Errors"].includes(name) ? "number" : "" }, name)))),
    el("tbody", {}, ...body));
}

function winsTable(one) {
  const names = one.standings.map((s) => s.generator);
  const rows = names.map((name, i) => el("tr", {},
    el("th", { scope: "row" }, el("bdi", {}, name)),
    ...names.map((_, j) => winCell(one, i, j))));
  return el("table", { class: "wins" },
    el("caption", {}, "Share of prompts in which the row's generator beats the column's. A cell opens its prompts side by side."),
    el("thead", {}, el("tr", {}, el("td"), ...names.map((name) => el("th", { scope: "col" }, el("bdi", {}, name))))),
    el("tbody", {}, ...rows));
}

function winCell(one, i, j) {
  if (i === j) return el("td", { class: "self" }, "");
  const wins = one.wins[i][j], p = one.p_values[i][j];
  const sure = p !== null && p <= ALPHA;
  const away = wins === null ? 0 : Math.abs(wins - 0.5) * 110;
  const tint = wins >= 0.5 ? "var(--good)" : "var(--bad)";
  const said = p === null ? "" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
  const [a, b] = [i, j].map((at) => one.standings[at].generator);
  const codes = [a, b].map((name) => (D.by ? D.by.values.indexOf(name) : -1));
  const open = button("", () => showPair(...codes), { class: "cell", disabled: codes.includes(-1) || $("#sides").hidden,
    "aria-label": `${a} beats ${b} on ${share(wins, 0)} of prompts${said ? `, ${said}` : ""}: show side by side` });
  open.append(el("span", { class: "tabular" }, share(wins, 0)), ...(sure || p === null ? [] : [el("small", {}, "n.s.")]));
  return el("td", { css: { background: `color-mix(in srgb, ${tint} ${away.toFixed(0)}%, transparent)` }, title: said }, open);
}

function drawBoard() {
  const section = $("#leaderboard");
  const one = boardsOf(board.axis).find((b) => (b.category ?? "") === board.category) ?? boardsOf(board.axis)[0];
  const few = D.leaderboard.unshared.slice(0, 8).map(([name, n]) => `${cut(name)} ${n}`);
  const more = D.leaderboard.unshared.length - few.length;
  const left = few.join(", ") + (more > 0 ? ` and ${more} more generators` : "");
  $(".note", section).textContent =
    `${named(one.axis)} over ${count(one.prompts, "prompt")}${one.category === null ? "" : ` of ${one.category}`}. `
    + "Rank is 1 + the number of generators that are significantly stronger; generators can share a rank. Strength is the Bradley-Terry strength."
    + (left ? ` Prompts skipped, because not all generators have them: ${left}.` : "");
  const region = (name, table) => el("div", { class: "scroll scrolls", tabindex: "0", role: "region", "aria-label": name }, table);
  const parts = [region("Standings", standingsTable(one))];
  if (D.leaderboard.left_out)
    parts.push(el("p", { class: "note" }, `${count(D.leaderboard.left_out, "leaderboard")} of other axes or categories left out to keep the page small.`));
  if (one.standings.length > 1 && one.wins.length) {
    parts.push(region("Win rates", winsTable(one)));
    if (one.p_values.some((row, i) => row.some((p, j) => i !== j && p !== null && p > ALPHA)))
      parts.push(el("p", { class: "note" }, "n.s.: not significant, p > 0.05 after correction for the number of pairs."));
  }
  $(".body", section).replaceChildren(...parts);
}

function startBoard() {
  const section = $("#leaderboard");
  if (D.no_board) {
    section.hidden = false;
    $(".note", section).textContent = `No leaderboard: ${D.no_board}.`;
  }
  if (!D.leaderboard || !D.leaderboard.boards.length) return;
  section.hidden = false;
  const axes = [...new Set(D.leaderboard.boards.map((one) => one.axis))];
  board.axis = axes[0];
  board.category = D.leaderboard.boards[0].category ?? "";
  boardStart = { ...board };
  const change = (key) => (value) => { board[key] = value; drawBoard(); noteState("leaderboard"); };
  const categories = [...new Set(D.leaderboard.boards.map((one) => one.category ?? ""))];
  const lists = {};
  if (axes.length > 1) lists.axis = choice("Axis", axes.map((axis) => [axis, named(axis)]), board.axis, change("axis"));
  if (categories.length > 1) lists.category = choice("Category", categories.map((name) => [name, name || "all"]), board.category, change("category"));
  $(".tools", section).append(...Object.values(lists));
  drawBoard();
  addToAddress(() => changed(board, boardStart, { axis: "b.axis", category: "b.category" }), (values) => {
    Object.assign(board, { axis: known(values.get("b.axis"), axes), category: known(values.get("b.category"), categories) });
    for (const [key, list] of Object.entries(lists)) $("select", list).value = board[key];
    drawBoard();
  });
}
