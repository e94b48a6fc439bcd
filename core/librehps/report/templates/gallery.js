"use strict";
// Best and worst row of each group, or of all rows if no group has two.

const PANELS = 6, ENDS = 12;
const GALLERY_START = { axis: AXES[0], order: "gap", page: 0 };
const gallery = { ...GALLERY_START };

// Of a sample the best and worst row of a group are known from all rows.
function knownContests({ shown }) {
  const sizes = new Map();
  for (let row = 0; row < N; row++) sizes.set(groupOf(row), (sizes.get(groupOf(row)) ?? 0) + 1);
  return shown.map(([best, worst, size]) => {
    const group = groupOf(best);
    return { group, size, held: Math.min(size, sizes.get(group)), best, worst };
  });
}

function contests() {
  const found = W.contests ? knownContests(W.contests[gallery.axis]) : shownContests();
  const mu = (row) => muOf(row, gallery.axis);
  const by = {
    gap: (a, b) => mu(b.best) - mu(b.worst) - mu(a.best) + mu(a.worst),
    best: (a, b) => mu(b.best) - mu(a.best),
    worst: (a, b) => mu(a.worst) - mu(b.worst),
    file: () => 0,
  };
  return found.sort((a, b) => by[gallery.order](a, b) || a.group - b.group);
}

function shownContests() {
  const of = new Map();
  for (const row of ranked(scored, gallery.axis)) {
    if (muOf(row, gallery.axis) === null) continue;
    const group = groupOf(row);
    if (!of.has(group)) of.set(group, []);
    of.get(group).push(row);
  }
  return [...of].filter(([, rows]) => rows.length > 1)
    .map(([group, rows]) => ({ group, size: rows.length, held: rows.length, best: rows[0], worst: rows[rows.length - 1] }));
}

function panel({ group, size, held, best, worst }) {
  const name = groupLabel(group);
  const all = held < size ? `${whole.format(held)} of ${whole.format(size)}` : `All ${whole.format(size)}`;
  return el("section", { class: "panel" },
    el("header", {},
      el("h3", { dir: "auto", title: name }, name),
      button(all, () => showGroup(group), { class: "quiet", "aria-label": `Show ${all.toLowerCase()} rows of ${name}` })),
    el("div", { class: "duel" }, card(best, { tag: "Best" }), card(worst, { tag: "Worst" })));
}

function strips() {
  const rows = ranked(scored, gallery.axis).filter((row) => muOf(row, gallery.axis) !== null);
  const half = rows.length < 2 * ENDS ? Math.ceil(rows.length / 2) : ENDS;
  const strip = (name, chosen) => el("div", { class: "strip" }, el("h3", {}, name),
    el("div", { class: "cards" }, ...chosen.map((row) => card(row, { prompt: true }))));
  const low = rows.slice(half).slice(-ENDS).reverse();
  return low.length ? [strip("Highest", rows.slice(0, half)), strip("Lowest", low)] : [strip("Highest", rows)];
}

function drawGallery() {
  const section = $("#gallery");
  const found = contests();
  const what = D.group?.name === "prompt" ? "prompts" : D.group ? `values of ${D.group.name}` : "groups";
  if (!found.length) {
    $(".note", section).textContent = `The highest and lowest of ${count(W.rows - W.failed, "scored row")}, by ${gallery.axis}.`;
    $(".body", section).replaceChildren(...strips());
    $(".pager", section).replaceChildren();
  } else {
    const start = gallery.page * PANELS;
    const total = W.contests?.[gallery.axis].total ?? found.length;
    const few = found.length < total ? `${whole.format(found.length)} of ` : "";
    $(".note", section).textContent = D.group
      ? `${few}${whole.format(total)} ${what} with more than one scored row, by ${gallery.axis}`
        + (few ? ": those with the largest gaps, the best and the worst rows on any axis." : ".")
      : `All ${count(W.rows - W.failed, "scored row")}, by ${gallery.axis}.`;
    $(".body", section).replaceChildren(el("div", { class: "panels" }, ...found.slice(start, start + PANELS).map(panel)));
    const go = (page) => { gallery.page = page; keepFocus($(".pager", section), drawGallery); noteState("gallery"); };
    pager($(".pager", section), found.length, PANELS, gallery.page, go, what);
  }
  return found.length;
}

function startGallery() {
  const change = (key) => (value) => { Object.assign(gallery, { [key]: value, page: 0 }); drawGallery(); noteState("gallery"); };
  const lists = { axis: choice("Axis", AXES.map((axis) => [axis, named(axis)]), gallery.axis, change("axis")) };
  const orders = [["gap", "Largest gap"], ["best", "Best first"], ["worst", "Worst first"], ["file", "As in the file"]];
  if (drawGallery() > 1) lists.order = choice("Order", orders, gallery.order, change("order"));
  $("#gallery .tools").append(...Object.values(lists));
  addToAddress(() => changed(gallery, GALLERY_START, { axis: "g.axis", order: "g.order", page: "g.page" }), (values) => {
    Object.assign(gallery, { axis: known(values.get("g.axis"), AXES), order: known(values.get("g.order"), orders.map(([key]) => key)), page: 0 });
    for (const [key, list] of Object.entries(lists)) $("select", list).value = gallery[key];
    gallery.page = pageIn(values, "g.page", Math.ceil(contests().length / PANELS));
    drawGallery();
  });
}
