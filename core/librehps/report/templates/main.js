"use strict";
// The head of the page, means and errors; then all parts are started.

function startHead() {
  const model = (D.record.find(([name]) => name === "model") ?? [])[1];
  const origin = [];
  if (model) origin.push("Scored by ", el("strong", {}, model));
  if (D.digest) origin.push(model ? ", settings " : "Settings ", el("code", {}, D.digest));
  $("#origin").append(...origin);
  const failed = W.failed;
  const facts = [["Rows", whole.format(W.rows)], ["Prompts", whole.format(W.prompts)]];
  if (D.by) facts.push(["Generators", whole.format(W.makers)]);
  facts.push(["Mean overall", figure(W.spread[AXES[0]].mean)]);
  facts.push(["Errors", whole.format(failed)]);
  if (IS_SAMPLE) {
    $("#shown").hidden = false;
    $("#shown").textContent =
      `This page shows ${whole.format(N)} of ${whole.format(W.rows)} rows: the best and the worst on each axis, the groups `
      + "with the largest gaps, examples of each error, and an even sample of the others. Figures, histograms, means and "
      + "the leaderboard are of all rows. Search, filters, sorting and the scatter plot are of the rows shown.";
    $("#rows-title").textContent = "Rows shown";
    $(".skip").textContent = "Skip to the rows shown";
  }
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
  if (!W.errors.length) return;
  section.hidden = false;
  const most = Math.max(...W.errors.map(([, n]) => n));
  $(".note", section).textContent = `${count(W.failed, "row")} of ${whole.format(W.rows)} could not be scored.`;
  const list = W.errors.map(([name, n]) => el("li", {},
    el("span", { class: "name" }, name),
    el("span", { class: "track" }, el("span", { class: "fill", css: { width: `${(100 * n) / most}%`, background: "var(--bad)" } })),
    el("span", { class: "tabular" }, whole.format(n)),
    button("Show", () => showErrors(D.error_type.values.indexOf(name)), { class: "quiet", "aria-label": `Show rows with ${name}` })));
  $(".body", section).append(el("ul", { class: "kinds" }, ...list));
}

// Means of all rows, by generator and by group.
function startMeans() {
  const section = $("#means");
  for (const { name, values, rows } of W.tables) {
    if (rows.length < 2) continue;
    section.hidden = false;
    const failed = rows.some((row) => row[2]);
    const heads = ["Rows", ...(failed ? ["Errors"] : []), ...AXES.map(named)];
    const body = rows.map(([value, n, errors, ...means]) => el("tr", {},
      el("th", { scope: "row" }, el("bdi", {}, value)),
      ...[whole.format(n), ...(failed ? [whole.format(errors)] : []), ...means.map((mean) => figure(mean))]
        .map((text) => el("td", { class: "number" }, text))));
    const more = values > rows.length ? `: the ${rows.length} of ${whole.format(values)} values with the most rows` : "";
    $(".body", section).append(el("div", { class: "scroll scrolls", tabindex: "0", role: "region", "aria-label": `Means by ${name}` },
      el("table", { class: "standings pinned" }, el("caption", {}, `By ${name}${more}`),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, name), ...heads.map((text) => el("th", { scope: "col", class: "number" }, text)))),
        el("tbody", {}, ...body))));
  }
}

function startNav() {
  for (const section of document.querySelectorAll("section.block")) {
    if (section.hidden) continue;
    const names = { spread: "Spread", scatter: "Scatter", agreement: "Agreement", sides: "Side by side" };
    $("#nav").append(el("a", { href: `#${section.id}` }, names[section.id] ?? $("h2", section).textContent));
  }
}

function startPicturesNote() {
  const note = $("#pictures-note");
  note.textContent = D.bundled
    ? "Cards open larger pictures and clips from the folders next to this page: keep them together."
    : D.link.some((link) => link) ? "Cards open the originals only where the files lie: sent alone, this page has its thumbnails. To send larger pictures: librehps report --bundle." : "";
  const missing = new Map();
  for (const at of D.pictures.of) if (at < 0) missing.set(-1 - at, (missing.get(-1 - at) ?? 0) + 1);
  if (!missing.size) return;
  const total = [...missing.values()].reduce((sum, n) => sum + n, 0);
  const said = [...missing].sort((a, b) => b[1] - a[1]).map(([at, n]) => `${D.pictures.reasons[at]} (${whole.format(n)})`);
  const what = IS_SAMPLE ? count(total, "row shown has", "rows shown have") : count(total, "row has", "rows have");
  note.textContent += ` ${what} no picture here: ${said.join(", ")}.`;
}

startTheme();
startHead();
startSides();
startBoard();
startGallery();
startMeans();
startErrors();
startRows();
startPicturesNote();
startAgreement();
startSelection();
startViewer();
startNav();
startHistograms();
startScatter();
startAddress();
root.dataset.ready = String(Math.round(performance.now()));
