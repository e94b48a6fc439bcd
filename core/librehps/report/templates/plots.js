"use strict";
// Plots as SVG. Colours are those of the page's style, so that they follow the theme; values stand in
// titles, which browsers show under the mouse.

function svg(name, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "css") for (const [rule, v] of Object.entries(value)) element.style.setProperty(rule, v);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const hint = (text) => svg("title", {}, text);

// Round steps of 1, 2 or 5, about as many as asked.
function ticks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at++) found.push(at * step);
  return found;
}

const tickText = (value) => (Math.abs(value) >= 1000 ? whole.format(value) : String(Number(value.toPrecision(6))));

// A frame with `x` and `y`, each a range of values and where its ticks are; `scale` maps values to pixels.
function frame({ width, height, margin, x, y, titles = [] }) {
  const { l, r, t, b } = margin;
  const inside = { left: l, top: t, width: Math.max(1, width - l - r), height: Math.max(1, height - t - b) };
  const px = (value) => l + ((value - x.range[0]) / (x.range[1] - x.range[0])) * inside.width;
  const py = (value) => t + inside.height - ((value - y.range[0]) / (y.range[1] - y.range[0])) * inside.height;
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "drawn" });
  for (const at of y.ticks) plot.append(svg("g", { class: "mark y" },
    svg("line", { x1: l, x2: width - r, y1: py(at), y2: py(at) }),
    svg("text", { x: l - 7, y: py(at) + 4, "text-anchor": "end" }, tickText(at))));
  for (const at of x.ticks) plot.append(svg("g", { class: "mark x" },
    svg("line", { x1: px(at), x2: px(at), y1: t + inside.height, y2: t + inside.height + 4 }),
    svg("text", { x: px(at), y: t + inside.height + 17, "text-anchor": "middle" }, tickText(at))));
  plot.append(svg("line", { class: "base", x1: l, x2: width - r, y1: t + inside.height, y2: t + inside.height }));
  if (titles[0]) plot.append(svg("text", { class: "title", x: l + inside.width / 2, y: height - 4, "text-anchor": "middle" }, titles[0]));
  if (titles[1]) plot.append(svg("text", { class: "title", "text-anchor": "middle", transform: `translate(12 ${t + inside.height / 2}) rotate(-90)` }, titles[1]));
  return { plot, px, py, inside };
}

// Draws when the place gets a size, and again when its size changes.
function drawSized(place, draw) {
  let size = "";
  const act = () => {
    const now = `${place.clientWidth} ${place.clientHeight}`;
    if (!place.clientWidth || now === size) return;
    size = now;
    draw(place.clientWidth, place.clientHeight);
  };
  new ResizeObserver(act).observe(place);
  act();
}

function drawHistogram(place, axis, counts, middle) {
  const most = Math.max(...counts, 1);
  drawSized(place, (width, height) => {
    const { plot, px, py } = frame({
      width, height, margin: { l: 40, r: 8, t: 8, b: 24 },
      x: { range: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1] }, y: { range: [0, most * 1.04], ticks: ticks(0, most, 3).filter(Number.isInteger) },
    });
    counts.forEach((rows, i) => {
      const [left, right] = [i / counts.length, (i + 1) / counts.length];
      const top = py(rows);
      plot.append(svg("rect", { class: "bar", x: px(left) + 0.5, width: Math.max(0.5, px(right) - px(left) - 1), y: top, height: py(0) - top, css: { fill: `var(--${axis})` } },
        hint(`${left.toFixed(2)}–${right.toFixed(2)}: ${count(rows, "row")}`)));
    });
    plot.append(svg("line", { class: "middle", x1: px(middle), x2: px(middle), y1: py(most * 1.04), y2: py(0) }, hint(`median ${figure(middle)}`)));
    place.replaceChildren(plot);
  });
}

function startHistograms() {
  for (const axis of AXES) {
    const { bins, median: middle, count: known } = W.spread[axis];
    const place = el("div", { class: "plot short", role: "img", "aria-label": `Histogram of ${axis}: median ${figure(middle)} over ${count(known, "row")}` });
    $("#spread .plots").append(el("figure", {},
      el("figcaption", {}, el("i", { class: "dot", css: { background: `var(--${axis})` } }), named(axis),
        el("span", { class: "tabular" }, `median ${figure(middle)}`)), place));
    drawHistogram(place, axis, bins, middle);
  }
}

function drawReliability(points) {
  const place = $("#agreement .frame");
  const most = Math.max(...points.map((point) => point[2]), 1);
  const kind = D.agreement.calibrated ? "calibrated" : "uncalibrated";
  drawSized(place, (width, height) => {
    const low = 64;
    const marks = ticks(0, 1, 5);
    const { plot, px, py } = frame({
      width, height: height - low, margin: { l: 56, r: 12, t: 8, b: 24 }, titles: ["", "observed share of wins"],
      x: { range: [-0.025, 1.025], ticks: marks }, y: { range: [-0.025, 1.025], ticks: marks },
    });
    plot.append(svg("line", { class: "perfect", x1: px(0), y1: py(0), x2: px(1), y2: py(1) }));
    plot.append(svg("polyline", { class: "model", points: points.map(([said, happened]) => `${px(said)},${py(happened)}`).join(" ") }));
    for (const [said, happened, n] of points)
      plot.append(svg("circle", { class: "point", cx: px(said), cy: py(happened), r: 3 + 5 * Math.sqrt(n / most) },
        hint(`predicted ${said.toFixed(2)}, observed ${happened.toFixed(2)}: ${count(n, "judgement")}`)));
    const counts = frame({ width, height: low, margin: { l: 56, r: 12, t: 8, b: 20 }, titles: [`predicted P(a wins), ${kind}`],
      x: { range: [-0.025, 1.025], ticks: [] }, y: { range: [0, most * 1.05], ticks: [] } });
    for (const [said, , n] of points)
      counts.plot.append(svg("rect", { class: "bar", x: counts.px(said - 0.02), width: counts.px(0.04) - counts.px(0), y: counts.py(n), height: counts.py(0) - counts.py(n) }, hint(count(n, "judgement"))));
    place.replaceChildren(plot, counts.plot);
  });
}

function startAgreement() {
  const of = D.agreement;
  if (!of) return;
  const section = $("#agreement");
  section.hidden = false;
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
  if (of.points.length) drawReliability(of.points);
  else $(".plot", section).replaceWith(el("p", { class: "nothing" }, "No diagram: these scores have no sigma columns. Score with --columns full."));
}
