"use strict";
// A row as a card, and its details in a dialog.

function picture(row, name = "thumb") {
  const at = D.pictures.of[row];
  const about = promptOf(row) ?? idOf(row);
  if (at >= 0) {
    const source = "data:image/webp;base64," + IMAGES[at];
    const mark = kindOf(row) === "video" ? el("span", { class: "clip", title: "A frame of a video" }, "▶") : null;
    return el("span", { class: name }, el("img", { src: source, alt: about, decoding: "async", loading: "lazy" }), mark);
  }
  const reason = D.pictures.reasons[-1 - at];
  return el("span", { class: `${name} none`, role: "img", "aria-label": `${about}: no picture, ${reason}` },
    el("span", { "aria-hidden": "true" }, reason));
}

function bars(row, digits = 2) {
  const list = el("ul", { class: "bars" });
  for (const axis of AXES) {
    const mean = meanOf(row, axis);
    if (mean === null) continue;
    list.append(el("li", {},
      el("span", { class: "name" }, axis),
      el("span", { class: "track" }, el("span", { class: "fill", css: { width: `${100 * mean}%`, background: `var(--${axis})` } })),
      el("span", { class: "tabular" }, figure(mean, digits))));
  }
  return list;
}

function makerChip(row) {
  if (!D.by || makerOf(row) === null) return null;
  return el("span", { class: "maker" }, dot(D.by.codes[row]), el("bdi", {}, makerOf(row)));
}

const dot = (code) => el("i", { class: "dot", css: { background: code < 0 || code >= MAKER_COLOURS ? "var(--other)" : `var(--maker-${code + 1})` } });

function card(row, { tag = null, prompt = false } = {}) {
  const failure = failureOf(row);
  const open = button("", () => showDetail(row), { class: "open", "aria-label": `Details of ${idOf(row)}` });
  open.append(picture(row));
  if (tag) open.append(el("span", { class: `tag ${tag.toLowerCase()}` }, tag));
  return el("article", { class: "card", "data-row": row },
    open,
    el("div", { class: "about" },
      prompt ? el("p", { class: "prompt", dir: "auto" }, promptOf(row) ?? "") : null,
      el("p", { class: "caption" }, makerChip(row), el("bdi", { class: "id", title: idOf(row) }, idOf(row))),
      failure === null ? bars(row) : el("p", { class: "failure" }, failure)));
}

function details(row) {
  const facts = [["id", idOf(row)], ["media", D.media[row]], ["kind", kindOf(row)]];
  if (D.by) facts.push([D.by.name, makerOf(row)]);
  if (D.group && D.group.labels && D.group.name !== D.by?.name) facts.push([D.group.name, groupLabel(groupOf(row))]);
  for (const [name, values] of Object.entries(D.own)) facts.push([name, values[row]]);
  if (failureOf(row) !== null) facts.push(["error", failureOf(row)], ["", D.error[row] ?? null]);
  const list = el("dl", { class: "pairs" });
  for (const [name, value] of facts)
    if (value !== null && value !== undefined) list.append(el("dt", { dir: "auto" }, name), el("dd", { dir: "auto" }, value));
  return list;
}

function scoresTable(row) {
  const body = el("tbody");
  for (const axis of AXES) {
    if (meanOf(row, axis) === null) continue;
    body.append(el("tr", {},
      el("th", { scope: "row" }, el("i", { class: "dot", css: { background: `var(--${axis})` } }), named(axis)),
      el("td", { class: "number" }, figure(meanOf(row, axis))),
      el("td", { class: "number" }, figure(muOf(row, axis)))));
  }
  if (!body.children.length) return null;
  const head = ["Axis", "Mean", "mu"].map((name, at) => el("th", { scope: "col", class: at ? "number" : "" }, name));
  return el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ...head)), body);
}

function showDetail(row) {
  const dialog = $("#detail");
  const link = D.link[row];
  const original = link && link.startsWith("./")
    ? el("a", { href: link, target: "_blank", rel: "noopener noreferrer", class: "button" }, "Open the original")
    : null;
  dialog.replaceChildren(
    el("div", { class: "shown" }, picture(row, "large"), original),
    el("div", { class: "told" },
      el("h3", { id: "detail-title", dir: "auto" }, promptOf(row) ?? idOf(row)),
      scoresTable(row), details(row)),
    button("×", () => dialog.close(), { class: "close", "aria-label": "Close" }));
  dialog.showModal();
}

$("#detail").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close();
});
