"use strict";
// A row as a card.

function picture(row, name = "thumb") {
  const at = D.pictures.of[row];
  const about = promptOf(row) ?? idOf(row);
  if (at >= 0) {
    const mark = kindOf(row) === "video" ? el("span", { class: "clip", title: clipSource(row) ? "A clip: open it to play" : "A frame of a video" }, "▶") : null;
    return el("span", { class: name }, el("img", { src: thumbSource(row), alt: about, decoding: "async", loading: "lazy" }), mark);
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

function whyLink(row, name) {
  const link = D.explained[row];
  if (!link?.startsWith("./")) return null;
  return el("a", { class: name, href: link, target: "_blank", rel: "noopener noreferrer" }, "Why this score");
}

function card(row, { tag = null, prompt = false, maker = true } = {}) {
  const failure = failureOf(row);
  const open = button("", (event) => showDetail(row, event.currentTarget), { class: "open", "aria-label": `Details of ${idOf(row)}` });
  open.append(picture(row));
  if (tag) open.append(el("span", { class: `tag ${tag.toLowerCase()}` }, tag));
  return el("article", { class: "card", "data-row": row },
    el("div", { class: "top-of-card" }, open, tick(row)),
    el("div", { class: "about" },
      prompt ? el("p", { class: "prompt", dir: "auto" }, promptOf(row) ?? "") : null,
      el("p", { class: "caption" }, maker ? makerChip(row) : null, el("bdi", { class: "id", title: idOf(row) }, idOf(row))),
      failure === null ? bars(row) : el("p", { class: "failure" }, failure),
      whyLink(row, "why")));
}
