"use strict";
// The data: columns as arrays, and accessors by row.

const D = JSON.parse($("#data").textContent);
const IMAGES = JSON.parse($("#images").textContent);
const CLIPS = JSON.parse($("#clips").textContent);
const AXES = Object.keys(D.axes);
const N = D.rows;
// Figures of all rows; a page of many rows shows only some of them.
const W = D.whole;
const IS_SAMPLE = N < W.rows;

const coded = (column, row) => (column.codes[row] < 0 ? null : column.values[column.codes[row]]);
const idOf = (row) => D.id[row] ?? `row ${row + 1}`;
// Names of rows in the address. Rows of several files can have the same id: of these, later ones are
// numbered.
let byName = null, names = null;
function nameRows() {
  byName = new Map();
  names = new Array(N);
  const used = new Map();
  for (let row = 0; row < N; row++) {
    let name = idOf(row);
    for (let n = used.get(idOf(row)) ?? 1; byName.has(name); used.set(idOf(row), n)) name = `${idOf(row)} (${++n})`;
    byName.set(names[row] = name, row);
  }
}

function addressOf(row) {
  if (names === null) nameRows();
  return names[row];
}

function rowOf(name) {
  if (byName === null) nameRows();
  return byName.get(name);
}

// The value if it is among the options, else the first option.
const known = (value, options) => (options.includes(value) ? value : options[0]);
const promptOf = (row) => coded(D.prompt, row);
const kindOf = (row) => coded(D.kind, row);
const makerOf = (row) => (D.by ? coded(D.by, row) : null);
const failureOf = (row) => coded(D.error_type, row);
const meanOf = (row, axis) => D.axes[axis].mean[row];
const muOf = (row, axis) => D.axes[axis].mu[row];

// If the groups are the prompts, the prompt column has their codes and labels.
const GROUP_LABELS = D.group ? (D.group.labels ?? D.prompt.values) : [];
const groupOf = (row) => (D.group ? (D.group.codes ?? D.prompt.codes)[row] : 0);
const groupLabel = (group) => GROUP_LABELS[group] ?? (D.group ? `no ${D.group.name}` : "all rows");

const scored = [];
for (let row = 0; row < N; row++) if (failureOf(row) === null) scored.push(row);

// Sorts by mu, since means saturate. Rows without a value come last.
function ranked(rows, axis, down = true) {
  const mu = D.axes[axis].mu;
  const sign = down ? 1 : -1;
  return rows.slice().sort((a, b) => {
    if (mu[a] === null || mu[b] === null) return (mu[a] === null) - (mu[b] === null) || a - b;
    return sign * (mu[b] - mu[a]) || a - b;
  });
}

let haystacks = null;
function textOf(row) {
  haystacks ??= new Array(N);
  haystacks[row] ??= [D.id[row], D.media[row], promptOf(row), makerOf(row), D.error[row]]
    .filter((text) => text)
    .join("\n")
    .toLowerCase();
  return haystacks[row];
}

const MAKER_COLOURS = 8;
const makerColour = (code) => (code < 0 || code >= MAKER_COLOURS ? colour("other") : colour(`maker-${code + 1}`));
