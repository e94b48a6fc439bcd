"use strict";
// Two axes against each other. Plotly draws the frame and finds the point under the mouse; the dots
// are painted on a canvas, since thousands of elements would be slow.

const scatter = { x: AXES[1] ?? AXES[0], y: AXES[2] ?? AXES[0], points: [], at: 0, kept: false };

function scatterPoints() {
  scatter.points = scored.filter((row) => meanOf(row, scatter.x) !== null && meanOf(row, scatter.y) !== null);
  scatter.points.sort((a, b) => meanOf(a, scatter.x) - meanOf(b, scatter.x) || a - b);
}

function scatterTitle(axis) {
  return { text: `${axis} (mean)`, font: { color: colour("ink-soft"), size: 12 } };
}

function fitted(axis) {
  const values = scatter.points.map((row) => meanOf(row, axis));
  let low = 1, high = 0;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  const room = Math.max(0.02, 0.04 * (high - low));
  return [low - room, high + room];
}

function drawScatter() {
  scatterPoints();
  const found = {
    type: "scatter", mode: "markers", hoverinfo: "none", marker: { opacity: 0, size: 10, maxdisplayed: 1 },
    x: scatter.points.map((row) => meanOf(row, scatter.x)), y: scatter.points.map((row) => meanOf(row, scatter.y)),
  };
  return Plotly.react($("#scatter .frame"), [found], layout({
    hovermode: "closest", hoverdistance: 14, dragmode: isTouch() ? false : "zoom",
    xaxis: axisStyle({ fixedrange: isTouch(), title: scatterTitle(scatter.x), range: fitted(scatter.x) }),
    yaxis: axisStyle({ fixedrange: isTouch(), title: scatterTitle(scatter.y), range: fitted(scatter.y) }),
    margin: { l: 56, r: 12, t: 8, b: 46 },
  }), CONFIG);
}

function paint() {
  const frame = $("#scatter .frame"), canvas = $("#scatter canvas"), of = frame._fullLayout;
  if (!of?.xaxis?.l2p) return;
  const ratio = devicePixelRatio || 1;
  const { xaxis, yaxis } = of;
  const [left, top, wide, high] = [xaxis._offset, yaxis._offset, xaxis._length, yaxis._length];
  Object.assign(canvas.style, { left: `${left}px`, top: `${top}px`, width: `${wide}px`, height: `${high}px` });
  canvas.width = wide * ratio;
  canvas.height = high * ratio;
  const brush = canvas.getContext("2d");
  brush.scale(ratio, ratio);
  const many = scatter.points.length > 2000;
  const radius = many ? 2.2 : 4;
  brush.globalAlpha = many ? 0.45 : 0.75;
  const tints = D.by ? D.by.values.map((_, code) => makerColour(code)) : [];
  for (const row of scatter.points) {
    brush.fillStyle = D.by ? (tints[D.by.codes[row]] ?? colour("other")) : colour("overall");
    brush.beginPath();
    brush.arc(xaxis.l2p(meanOf(row, scatter.x)), yaxis.l2p(meanOf(row, scatter.y)), radius, 0, 7);
    brush.fill();
  }
  ring(brush, xaxis, yaxis, radius);
}

function ring(brush, xaxis, yaxis, radius) {
  const row = scatter.points[scatter.at];
  if (row === undefined) return;
  brush.globalAlpha = 1;
  brush.strokeStyle = colour("ink");
  brush.lineWidth = 2;
  brush.beginPath();
  brush.arc(xaxis.l2p(meanOf(row, scatter.x)), yaxis.l2p(meanOf(row, scatter.y)), radius + 4, 0, 7);
  brush.stroke();
}

function see(at) {
  scatter.at = Math.max(0, Math.min(scatter.points.length - 1, at));
  const row = scatter.points[scatter.at];
  $("#scatter .seen").replaceChildren(row === undefined ? el("p", { class: "nothing" }, "No row has both axes.") : card(row, { prompt: true }));
  paint();
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10, PageUp: 100, PageDown: -100, Home: -Infinity, End: Infinity };

function onKey(event) {
  const step = STEPS[event.key];
  if (event.key === "Enter" && scatter.points.length) showDetail(scatter.points[scatter.at]);
  else if (event.key === "Escape") scatter.kept = false;
  else if (step !== undefined) {
    scatter.kept = true;
    see(scatter.at + step);
  } else return;
  event.preventDefault();
}

function bestSeen() {
  let best = 0;
  scatter.points.forEach((row, at) => { if (muOf(row, AXES[0]) > muOf(scatter.points[best], AXES[0])) best = at; });
  return best;
}

function startScatter() {
  const section = $("#scatter"), place = $(".plot", section);
  const axes = AXES.map((axis) => [axis, named(axis)]);
  const change = (key) => async (value) => { scatter[key] = value; scatter.kept = false; await drawScatter(); see(bestSeen()); };
  $(".tools", section).append(choice("X axis", axes, scatter.x, change("x")), choice("Y axis", axes, scatter.y, change("y")));
  if (D.by) {
    const shown = D.by.values.slice(0, MAKER_COLOURS).map((name, code) => el("span", { class: "maker" }, dot(code), el("bdi", {}, name)));
    if (D.by.values.length > MAKER_COLOURS) shown.push(el("span", { class: "maker" }, dot(-1), "others"));
    $(".legend", section).append(...shown);
  }
  place.append(el("div", { class: "frame" }), el("canvas", { "aria-hidden": "true" }));
  place.addEventListener("keydown", onKey);
  return async () => {
    const frame = $(".frame", place);
    const first = !frame._fullLayout;
    await drawScatter();
    if (!first) return;
    // Painting after each of Plotly's own drawings keeps the dots under its axes' ticks.
    frame.on("plotly_afterplot", paint);
    frame.on("plotly_relayouting", paint);
    frame.on("plotly_hover", (event) => { if (!scatter.kept) see(event.points[0].pointIndex); });
    frame.on("plotly_click", (event) => { scatter.kept = true; see(event.points[0].pointIndex); place.focus(); });
    see(bestSeen());
  };
}
