"use strict";
// The head of the page, and everything without a plot.

function startHead() {
  const model = (D.record.find(([name]) => name === "model") ?? [])[1];
  const origin = [];
  if (model) origin.push("Scored by ", el("strong", {}, model));
  if (D.digest) origin.push(model ? ", settings " : "Settings ", el("code", {}, D.digest));
  $("#origin").append(...origin);
  const failed = N - scored.length;
  const facts = [["Rows", whole.format(N)], ["Prompts", whole.format(D.prompt.values.length)]];
  if (D.by) facts.push(["Generators", whole.format(D.by.values.length)]);
  const means = meansOf(AXES[0]);
  facts.push(["Mean overall", figure(means.reduce((sum, value) => sum + value, 0) / means.length)]);
  facts.push(["Errors", whole.format(failed)]);
  for (const [name, value] of facts)
    $("#facts").append(el("div", { class: name === "Errors" && failed ? "bad" : "" }, el("dt", {}, name), el("dd", { class: "tabular" }, value)));
  if (D.record.length) {
    const settings = $("#settings");
    settings.hidden = false;
    for (const [name, value] of D.record) $("dl", settings).append(el("dt", {}, name), el("dd", {}, value));
  }
}

function startErrors() {
  const section = $("#errors");
  const of = new Map();
  for (const code of D.error_type.codes) if (code >= 0) of.set(code, (of.get(code) ?? 0) + 1);
  if (!of.size) return;
  section.hidden = false;
  const most = Math.max(...of.values());
  $(".note", section).textContent = `${count(N - scored.length, "row")} of ${whole.format(N)} could not be scored.`;
  const list = [...of].sort((a, b) => b[1] - a[1]).map(([code, n]) => el("li", {},
    el("span", { class: "name" }, D.error_type.values[code]),
    el("span", { class: "track" }, el("span", { class: "fill", css: { width: `${(100 * n) / most}%`, background: "var(--bad)" } })),
    el("span", { class: "tabular" }, whole.format(n)),
    button("Show", () => showErrors(code), { class: "quiet", "aria-label": `Show rows with ${D.error_type.values[code]}` })));
  $(".body", section).append(el("ul", { class: "kinds" }, ...list));
}

function startNav() {
  for (const section of document.querySelectorAll("section.block")) {
    if (section.hidden) continue;
    const names = { spread: "Spread", scatter: "Scatter", agreement: "Agreement", rows: "All rows" };
    $("#nav").append(el("a", { href: `#${section.id}` }, names[section.id] ?? $("h2", section).textContent));
  }
}

function startPicturesNote() {
  const missing = new Map();
  for (const at of D.pictures.of) if (at < 0) missing.set(-1 - at, (missing.get(-1 - at) ?? 0) + 1);
  if (!missing.size) return;
  const total = [...missing.values()].reduce((sum, n) => sum + n, 0);
  const said = [...missing].sort((a, b) => b[1] - a[1]).map(([at, n]) => `${D.pictures.reasons[at]} (${whole.format(n)})`);
  $("#pictures-note").textContent = `${count(total, "row has", "rows have")} no picture here: ${said.join(", ")}.`;
}

startTheme();
startHead();
startBoard();
startGallery();
startErrors();
startRows();
startPicturesNote();
if (D.agreement) $("#agreement").hidden = false;
startNav();
