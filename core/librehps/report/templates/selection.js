"use strict";
// Ticked rows: copied or downloaded as ids, paths or JSON Lines, for `librehps filter` and xargs.

const selection = new Set();
const mediaOf = (row) => D.media[row] ?? D.id[row] ?? "";

function tick(row, text = null) {
  const box = el("input", { type: "checkbox", "data-tick": row, "aria-label": `Select ${idOf(row)}`,
    on: { change: (event) => select([row], event.target.checked) } });
  box.checked = selection.has(row);
  return el("label", { class: "tick", title: "Select (s)" }, box, text);
}

function select(list, on) {
  for (const row of list) on ? selection.add(row) : selection.delete(row);
  drawSelection();
  noteState(null, true);
}

function drawSelection() {
  for (const box of document.querySelectorAll("[data-tick]")) box.checked = selection.has(Number(box.dataset.tick));
  const bar = $("#selection");
  bar.hidden = !selection.size;
  document.body.classList.toggle("selecting", selection.size > 0);
  $(".count", bar).textContent = `${whole.format(selection.size)} selected`;
  const text = [...selection].map(idOf).join("").length;
  $(".more", bar).textContent = text > MAX_ADDRESS / 2 ? "Too many for the address: download them to share them." : "";
}

const chosenRows = () => [...selection].sort((a, b) => a - b);

function recordOf(row) {
  const record = { id: D.id[row], media: mediaOf(row), kind: kindOf(row), prompt: promptOf(row) };
  if (D.by && D.by.name !== "folder") record[D.by.name] = makerOf(row);
  for (const axis of AXES) record[axis] = meanOf(row, axis);
  for (const axis of AXES) record[`${axis}_mu`] = muOf(row, axis);
  const failure = failureOf(row);
  Object.assign(record, { status: failure === null ? "ok" : "error", error_type: failure, error: D.error[row] ?? null });
  if (D.digest) record.settings = D.digest;
  return record;
}

const listOf = {
  ids: (rows) => rows.map(idOf).join("\n") + "\n",
  paths: (rows) => rows.map(mediaOf).join("\n") + "\n",
  jsonl: (rows) => rows.map((row) => JSON.stringify(recordOf(row))).join("\n") + "\n",
};

const said = $("#said");
function say(text) {
  // An open dialog covers all else.
  ($("#detail").open ? $("#detail") : document.body).append(said);
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, 2500);
}

async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Some browsers have no clipboard for pages opened from the disk.
    const held = el("textarea", { class: "hidden", readonly: true });
    held.value = text;
    ($("#detail").open ? $("#detail") : document.body).append(held);
    held.select();
    document.execCommand("copy");
    held.remove();
  }
  say(`Copied ${what}`);
}

function download(text, name) {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function startSelection() {
  const copy = (kind) => () => copyText(listOf[kind](chosenRows()), count(selection.size, kind.slice(0, -1)));
  $("#selection .acts").append(
    button("Show only these", () => showRows({ only: true })),
    button("Copy ids", copy("ids")),
    button("Copy paths", copy("paths")),
    button("Download JSONL", () => download(listOf.jsonl(chosenRows()), "selection.jsonl")),
    button("Clear", () => { const showed = rows.only; selection.clear(); drawSelection(); if (showed) showRows({}); else noteState(null, true); }, { "aria-label": "Clear the selection" }));
  addToAddress(() => chosenRows().map((row) => ["pick", addressOf(row)]), (values) => {
    selection.clear();
    for (const name of values.getAll("pick")) if (rowOf(name) !== undefined) selection.add(rowOf(name));
    drawSelection();
  });
}
