"use strict";
// All rows: search, filters, sorting. The document has only one page of rows at a time.

const ROW = IS_SAMPLE ? "shown row" : "row";
const SIZES = { table: 50, cards: 48 };
const MOST_OPTIONS = 500;
const START = { text: "", prompt: "", kind: "", status: "", maker: "", axis: AXES[0], least: "", group: null, only: false };
const ORDER = { sort: AXES[0], down: true, page: 0, view: matchMedia("(max-width: 720px)").matches ? "cards" : "table" };
const rows = { ...START, ...ORDER, found: [] };

function passes() {
  const text = rows.text.trim().toLowerCase();
  const prompt = rows.prompt.trim().toLowerCase();
  const hasPrompt = prompt ? D.prompt.values.map((value) => value.toLowerCase().includes(prompt)) : null;
  const least = parseFloat(rows.least);
  const maker = rows.maker === "" ? null : Number(rows.maker);
  const kind = rows.kind === "" ? null : Number(rows.kind);
  const failure = rows.status.startsWith("type:") ? Number(rows.status.slice(5)) : null;
  return (row) => {
    if (rows.only && !selection.has(row)) return false;
    const failed = D.error_type.codes[row];
    if (failure !== null && failed !== failure) return false;
    if (rows.status === "ok" && failed >= 0) return false;
    if (rows.status === "error" && failed < 0) return false;
    if (rows.group !== null && groupOf(row) !== rows.group) return false;
    if (maker !== null && D.by.codes[row] !== maker) return false;
    if (kind !== null && D.kind.codes[row] !== kind) return false;
    if (hasPrompt && !hasPrompt[D.prompt.codes[row]]) return false;
    if (!Number.isNaN(least)) {
      const mean = meanOf(row, rows.axis);
      if (mean === null || mean < least) return false;
    }
    return !text || textOf(row).includes(text);
  };
}

function find() {
  const pass = passes();
  const found = [];
  for (let row = 0; row < N; row++) if (pass(row)) found.push(row);
  if (rows.sort !== "file") rows.found = ranked(found, rows.sort, rows.down);
  else rows.found = rows.down ? found.reverse() : found;
  rows.page = 0;
  drawRows();
}

function sortBy(key) {
  rows.down = rows.sort === key ? !rows.down : key !== "file";
  rows.sort = key;
  fields.sort.value = key;
  const header = document.activeElement?.dataset?.sort;
  find();
  if (header) $(`#rows button[data-sort="${CSS.escape(header)}"]`)?.focus();
  noteState("rows");
}

function sortHeader(key, text, name = "number") {
  const active = rows.sort === key;
  const arrow = el("span", { class: "arrow", "aria-hidden": "true" }, active ? (rows.down ? "↓" : "↑") : "");
  const press = button(text, () => sortBy(key), { class: "sort", "data-sort": key });
  press.append(arrow);
  const order = active ? (rows.down ? "descending" : "ascending") : "none";
  return el("th", { scope: "col", class: name, "aria-sort": order }, press);
}

function tableOf(chosen) {
  const head = el("tr", {}, el("th", { scope: "col", class: "pic" }, el("span", { class: "hidden" }, "Picture")));
  const headers = [["file", "Item", ""], ...AXES.map((axis) => [axis, named(axis), "number"])];
  head.append(...headers.map((header) => sortHeader(...header)));
  return el("div", { class: "scroll scrolls", tabindex: "0", role: "region", "aria-label": "Rows" },
    el("table", { class: "rows" }, el("caption", { class: "hidden" }, "All rows; click a header to sort"),
      el("thead", {}, head), el("tbody", {}, ...chosen.map(tableRow))));
}

function tableRow(row) {
  const open = button("", (event) => showDetail(row, event.currentTarget), { class: "open", "aria-label": `Details of ${idOf(row)}` });
  open.append(picture(row, "mini"));
  const failure = failureOf(row);
  const item = el("td", { class: "item" },
    el("div", { class: "prompt", dir: "auto", title: promptOf(row) }, promptOf(row) ?? "no prompt"),
    el("div", { class: "caption" }, makerChip(row), el("bdi", { class: "id", title: idOf(row) }, idOf(row))));
  const cells = failure === null ? AXES.map((axis) => axisCell(row, axis))
    : [el("td", { colspan: AXES.length, class: "failure", title: D.error[row] ?? "" }, failure)];
  return el("tr", { "data-row": row }, el("td", { class: "pic" }, el("div", { class: "top-of-card" }, open, tick(row))), item, ...cells);
}

function axisCell(row, axis) {
  const mean = meanOf(row, axis);
  if (mean === null) return el("td", { class: "number faint" }, "–");
  return el("td", { class: "number" }, figure(mean),
    el("span", { class: "track" }, el("span", { class: "fill", css: { width: `${100 * mean}%`, background: `var(--${axis})` } })));
}

function drawRows() {
  const section = $("#rows");
  const size = SIZES[rows.view];
  const chosen = rows.found.slice(rows.page * size, (rows.page + 1) * size);
  const within = (rows.group === null ? "" : ` · only “${groupLabel(rows.group)}”`) + (rows.only ? " · only the selected" : "");
  $(".note", section).textContent = (rows.found.length === N ? count(N, ROW) : `${whole.format(rows.found.length)} of ${count(N, ROW)}`) + within
    + (IS_SAMPLE ? ` · the file has ${count(W.rows, "row")}` : "");
  const body = !chosen.length ? el("p", { class: "nothing" }, "No rows match these filters.")
    : rows.view === "table" ? tableOf(chosen)
    : el("div", { class: "cards" }, ...chosen.map((row) => card(row, { prompt: true })));
  $(".body", section).replaceChildren(body);
  const go = (page) => {
    rows.page = page;
    keepFocus($(".pager", section), drawRows);
    $(".filters", section).scrollIntoView({ block: "start" });
    noteState("rows");
  };
  pager($(".pager", section), rows.found.length, size, rows.page, go, "rows");
}

function showRows(change) {
  Object.assign(rows, START, change);
  syncFilters();
  find();
  $("#rows").scrollIntoView();
  $("#rows").focus({ preventScroll: true });
  noteState("rows");
}

const showGroup = (group) => showRows({ group });
const showErrors = (code) => showRows({ status: `type:${code}` });

const fields = {};
function syncFilters() {
  for (const [name, input] of Object.entries(fields)) input.value = rows[name];
}

function field(name, label) {
  const input = $("select, input", label);
  input.addEventListener("input", () => {
    rows[name] = input.value;
    find();
    noteState("rows", input.matches("input"));
  });
  fields[name] = input;
  return label;
}

const input = (label, properties) => el("label", { class: "field" }, el("span", {}, label), el("input", properties));
const options = (values) => [["", "all"], ...values.map((value, code) => [String(code), value])];
const pick = (label, of, value = "") => choice(label, of, value, () => {});

function promptField() {
  const listed = el("datalist", { id: "prompts" });
  for (const value of D.prompt.values.slice(0, MOST_OPTIONS)) listed.append(el("option", { value }));
  const label = input("Prompt", { type: "search", list: "prompts", placeholder: "any", autocomplete: "off" });
  label.append(listed);
  return field("prompt", label);
}

function startRows() {
  const form = $("#rows .filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(field("text", input("Search", { type: "search", placeholder: "prompt, name or error", autocomplete: "off" })));
  if (D.prompt.values.length > 1) form.append(promptField());
  if (D.by) form.append(field("maker", pick(D.by.name, options(D.by.values))));
  if (D.kind.values.length > 1) form.append(field("kind", pick("Kind", options(D.kind.values))));
  if (D.error_type.values.length) {
    const types = D.error_type.values.map((name, code) => [`type:${code}`, name]);
    form.append(field("status", pick("Status", [["", "all"], ["ok", "ok"], ["error", "any error"], ...types])));
  }
  const axes = field("axis", pick("Axis", AXES.map((axis) => [axis, named(axis)]), AXES[0]));
  const least = field("least", input("At least", { type: "number", min: "0", max: "1", step: "0.05", placeholder: "0–1", inputmode: "decimal" }));
  form.append(el("div", { class: "joined" }, axes, least), button("Clear", () => showRows({}), { class: "quiet" }));
  const sorts = [["file", "As in the file"], ...AXES.map((axis) => [axis, named(axis)])];
  const tools = $("#rows .tools");
  const sort = choice("Sort", sorts, rows.sort, (key) => { rows.sort = key; rows.down = key !== "file"; find(); noteState("rows"); });
  fields.sort = $("select", sort);
  const view = choice("View", [["table", "Table"], ["cards", "Cards"]], rows.view, (name) => { rows.view = name; rows.page = 0; drawRows(); noteState("rows"); });
  fields.view = $("select", view);
  tools.append(sort, view, button("Select all found", () => select(rows.found, true), { class: "quiet" }));
  find();
  addToAddress(rowsState, showRowsState);
}

// Values are named as on the page, since the numbers of makers and groups change with the file.
function rowsState() {
  const named = { ...rows, maker: rows.maker === "" ? "" : D.by.values[Number(rows.maker)], kind: rows.kind === "" ? "" : D.kind.values[Number(rows.kind)],
    status: rows.status.startsWith("type:") ? "type:" + D.error_type.values[Number(rows.status.slice(5))] : rows.status,
    group: rows.group === null ? null : groupLabel(rows.group), order: rows.down === (rows.sort !== "file") ? "" : "reverse" };
  return changed(named, { ...START, ...ORDER, order: "" }, { text: "q", prompt: "prompt", kind: "kind", status: "status", maker: "maker", axis: "axis",
    least: "least", group: "group", only: "only", sort: "sort", order: "order", page: "page", view: "view" });
}

function showRowsState(values) {
  const code = (list, name) => { const at = list.indexOf(values.get(name)); return at < 0 ? "" : String(at); };
  const status = values.get("status") ?? "";
  const type = D.error_type.values.indexOf(status.replace(/^type:/, ""));
  const group = values.has("group") ? Array.from({ length: N }, (_, row) => row).find((row) => groupLabel(groupOf(row)) === values.get("group")) : undefined;
  Object.assign(rows, START, ORDER, {
    text: values.get("q") ?? "", prompt: values.get("prompt") ?? "", least: values.get("least") ?? "",
    kind: code(D.kind.values, "kind"), maker: D.by ? code(D.by.values, "maker") : "",
    status: status.startsWith("type:") ? (type < 0 ? "" : `type:${type}`) : known(status, ["", "ok", "error"]),
    axis: known(values.get("axis"), AXES), group: group === undefined ? null : groupOf(group), only: values.get("only") === "true",
    sort: known(values.get("sort"), [AXES[0], ...AXES, "file"]), view: values.get("view") === null ? ORDER.view : known(values.get("view"), ["table", "cards"]),
  });
  rows.down = (rows.sort !== "file") !== (values.get("order") === "reverse");
  syncFilters();
  find();
  rows.page = pageIn(values, "page", Math.ceil(rows.found.length / SIZES[rows.view]));
  if (rows.page) drawRows();
}
