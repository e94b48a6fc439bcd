"use strict";
// Plots by Plotly, which never gets text of users, since it interprets some markup.

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
const isTouch = () => matchMedia("(pointer: coarse)").matches;

function axisStyle(extra = {}) {
  return {
    gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, fixedrange: true,
    tickfont: { color: colour("ink-soft"), size: 11 }, title: { font: { color: colour("ink-soft"), size: 12 } }, ...extra,
  };
}

function layout(extra = {}) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false,
    margin: { l: 44, r: 12, t: 8, b: 40 }, font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink") },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } }, ...extra,
  };
}

function drawHistogram(place, axis, counts, middle) {
  const size = counts.length;
  const at = counts.map((_, i) => (i + 0.5) / size);
  const ends = counts.map((_, i) => `${(i / size).toFixed(2)}–${((i + 1) / size).toFixed(2)}`);
  const bars = {
    type: "bar", x: at, y: counts, customdata: ends, width: 0.88 / size, marker: { color: colour(axis) },
    hovertemplate: "%{customdata}: %{y} rows<extra></extra>",
  };
  const line = { type: "line", x0: middle, x1: middle, y0: 0, y1: 1, yref: "paper", line: { color: colour("ink"), width: 1.5, dash: "dot" } };
  return Plotly.react(place, [bars], layout({
    shapes: [line], margin: { l: 36, r: 8, t: 6, b: 26 },
    xaxis: axisStyle({ range: [0, 1], showgrid: false, tickvals: [0, 0.25, 0.5, 0.75, 1] }),
    yaxis: axisStyle({ nticks: 4, rangemode: "tozero" }),
  }), CONFIG);
}

function startHistograms() {
  const draws = [];
  for (const axis of AXES) {
    const { bins, median: middle, count: known } = W.spread[axis];
    const place = el("div", { class: "plot short", role: "img", "aria-label": `Histogram of ${axis}: median ${figure(middle)} over ${count(known, "row")}` });
    $("#spread .plots").append(el("figure", {},
      el("figcaption", {}, el("i", { class: "dot", css: { background: `var(--${axis})` } }), named(axis),
        el("span", { class: "tabular" }, `median ${figure(middle)}`)), place));
    draws.push(() => drawHistogram(place, axis, bins, middle));
  }
  return draws;
}

function reliabilityTraces(points) {
  const said = points.map((point) => point[0]), happened = points.map((point) => point[1]), counts = points.map((point) => point[2]);
  const most = Math.max(...counts, 1);
  const perfect = { x: [0, 1], y: [0, 1], mode: "lines", line: { color: colour("ink-soft"), width: 1, dash: "dash" }, hoverinfo: "skip" };
  const model = {
    x: said, y: happened, customdata: counts, mode: "lines+markers", line: { color: colour("overall"), width: 2 },
    marker: { color: colour("overall"), size: counts.map((n) => 6 + 10 * Math.sqrt(n / most)) },
    hovertemplate: "predicted %{x:.2f}, observed %{y:.2f}<br>%{customdata} judgements<extra></extra>",
  };
  const bars = { type: "bar", x: said, y: counts, width: 0.04, marker: { color: colour("overall"), opacity: 0.5 }, yaxis: "y2", hoverinfo: "skip" };
  return [perfect, model, bars];
}

function drawReliability() {
  const kind = D.agreement.calibrated ? "calibrated" : "uncalibrated";
  return Plotly.react($("#agreement .frame"), reliabilityTraces(D.agreement.points), layout({
    xaxis: axisStyle({ range: [-0.025, 1.025], title: { text: `predicted P(a wins), ${kind}`, font: { size: 12, color: colour("ink-soft") } }, anchor: "y2" }),
    yaxis: axisStyle({ range: [-0.025, 1.025], domain: [0.24, 1], title: { text: "observed share of wins", font: { size: 12, color: colour("ink-soft") } } }),
    yaxis2: axisStyle({ domain: [0, 0.16], nticks: 3, rangemode: "tozero" }),
    margin: { l: 56, r: 12, t: 8, b: 44 },
  }), CONFIG);
}

function startAgreement() {
  const of = D.agreement;
  if (!of) return [];
  const section = $("#agreement");
  $(".note", section).textContent =
    `${count(of.pairs, "pair")}${of.held_out ? ", held out from calibration" : ""}, from `;
  $(".note", section).append(el("bdi", {}, of.source), ". On the dashed line, predicted and observed shares of wins are equal.");
  const facts = [["Accuracy", share(of.accuracy), of.interval ? `95 %: ${share(of.interval[0])} to ${share(of.interval[1])}` : ""],
    ["ECE", figure(of.ece), "uncalibrated"]];
  if (of.ece_calibrated !== null) facts.push(["ECE", figure(of.ece_calibrated), "calibrated"]);
  const list = el("dl", { class: "facts" });
  for (const [name, value, more] of facts)
    list.append(el("div", {}, el("dt", {}, name), el("dd", { class: "tabular" }, value), el("dd", { class: "more" }, more)));
  $(".words", section).append(list, el("p", { class: "note" },
    "Accuracy: share of pairs in which the preferred item has the higher score. ECE (expected calibration error): mean distance from the dashed line; 0 is best."));
  if (!of.points.length) {
    $(".plot", section).replaceWith(el("p", { class: "nothing" }, "No diagram: these scores have no sigma columns. Score with --columns full."));
    return [];
  }
  return [drawReliability];
}
