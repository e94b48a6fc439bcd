"use strict";
// A row large, with all that is known of it: zoom, previous and next, its original and explanation.

const viewer = { row: null, list: [], isZoomed: false };
const CLIP_NAME = /\.(mp4|m4v|mov|webm)$/i;
const linkOf = (row) => (D.link[row]?.startsWith("./") ? D.link[row] : null);
const thumbSource = (row) => (D.pictures.of[row] >= 0 ? "data:image/webp;base64," + IMAGES[D.pictures.of[row]] : null);

function clipSource(row) {
  const embedded = CLIPS[D.pictures.of[row]];
  if (embedded) return `data:${embedded[0]};base64,${embedded[1]}`;
  return kindOf(row) === "video" && CLIP_NAME.test(linkOf(row) ?? "") ? linkOf(row) : null;
}

const LOST = D.bundled
  ? "The larger file is missing: unzip the whole bundle before you open the page."
  : "This is the thumbnail: the original is not where it was when the page was made, or the browser cannot show its format. To send pictures with the page: librehps report --bundle.";

function stage(row) {
  const note = el("p", { class: "note", role: "status" });
  const clip = clipSource(row);
  if (clip) {
    const still = thumbSource(row);
    const video = el("video", { src: clip, poster: still, controls: true, loop: true, playsinline: true, preload: "metadata", "aria-label": promptOf(row) ?? idOf(row) });
    video.addEventListener("error", () => {
      video.replaceWith(picture(row, "large"));
      note.textContent = CLIPS[D.pictures.of[row]] ? "This browser cannot play the clip: this is a frame of it." : LOST;
    });
    return [el("span", { class: "large" }, video), note];
  }
  const shown = picture(row, "large");
  const image = $("img", shown);
  const link = linkOf(row);
  if (image && link) {
    image.loading = "eager";
    const full = new Image();
    full.addEventListener("load", () => { image.src = full.src; shown.classList.add("full"); });
    full.addEventListener("error", () => { note.textContent = LOST; });
    full.src = link;
  }
  shown.addEventListener("click", () => zoom(!viewer.isZoomed));
  return [shown, note];
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

function links(row) {
  const outside = { target: "_blank", rel: "noopener noreferrer", class: "button" };
  const original = D.bundled ? "Open the file" : "Original (this machine only)";
  return el("div", { class: "links" },
    button("Copy path", () => copyText(mediaOf(row), "the path")),
    linkOf(row) ? el("a", { href: linkOf(row), ...outside }, original) : null,
    whyLink(row, "button"));
}

function arrows(row) {
  const at = viewer.list.indexOf(row);
  const go = (step, text, name) => button(text, () => turn(step), { "aria-label": name, title: name, disabled: viewer.list[at + step] === undefined });
  return el("div", { class: "arrows" }, go(-1, "‹", "Previous (left arrow)"),
    el("span", { class: "tabular" }, `${whole.format(at + 1)} of ${whole.format(viewer.list.length)}`),
    go(1, "›", "Next (right arrow)"),
    button(viewer.isZoomed ? "Smaller" : "Zoom", () => zoom(!viewer.isZoomed), { class: "zoom", "aria-pressed": String(viewer.isZoomed), title: "Zoom (z)" }),
    tick(row, el("span", {}, "Select")));
}

function turn(step) {
  const row = viewer.list[viewer.list.indexOf(viewer.row) + step];
  if (row === undefined) return;
  const name = document.activeElement?.getAttribute("aria-label");
  viewer.row = row;
  drawDetail();
  const same = [...$("#detail").querySelectorAll("button:not([disabled])")].find((one) => one.getAttribute("aria-label") === name);
  (same ?? $("#detail .close")).focus();
  noteState(null, true);
}

function zoom(on) {
  viewer.isZoomed = on;
  $("#detail").classList.toggle("zoomed", on);
  const press = $("#detail .zoom");
  press.textContent = on ? "Smaller" : "Zoom";
  press.setAttribute("aria-pressed", String(on));
}

function drawDetail() {
  const { row } = viewer;
  const dialog = $("#detail");
  dialog.classList.toggle("zoomed", viewer.isZoomed);
  dialog.replaceChildren(
    el("div", { class: "shown" }, ...stage(row)),
    arrows(row),
    el("div", { class: "told" },
      el("h3", { id: "detail-title", dir: "auto" }, promptOf(row) ?? idOf(row)),
      scoresTable(row), details(row), links(row)),
    button("×", () => dialog.close(), { class: "close", "aria-label": "Close" }));
}

// The rows between which Previous and Next move: those of the section in which the row was clicked.
function neighbours(row, from) {
  const section = from?.closest?.("section.block");
  if (section && section.id !== "rows") {
    const shown = [...section.querySelectorAll("[data-row]")].map((card) => Number(card.dataset.row));
    if (shown.includes(row)) return section.id === "scatter" ? scatter.points : [...new Set(shown)];
  }
  return rows.found.includes(row) ? rows.found : [row];
}

function showDetail(row, from = document.activeElement) {
  viewer.row = row;
  viewer.list = neighbours(row, from);
  viewer.isZoomed = false;
  drawDetail();
  if (!$("#detail").open) $("#detail").showModal();
  noteState();
}

function onViewerKey(event) {
  if (!$("#detail").open || event.target.closest?.("video, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = { ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), z: () => zoom(!viewer.isZoomed),
    s: () => select([viewer.row], !selection.has(viewer.row)) }[event.key];
  if (!act) return;
  act();
  event.preventDefault();
}

function startViewer() {
  const dialog = $("#detail");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("keydown", onViewerKey);
  dialog.addEventListener("close", () => {
    viewer.row = null;
    dialog.replaceChildren();
    noteState();
  });
  addToAddress(() => (viewer.row === null ? [] : [["open", addressOf(viewer.row)]]), (values) => {
    const row = rowOf(values.get("open"));
    if (row !== undefined) showDetail(row, null);
    else if (dialog.open) dialog.close();
  });
}
