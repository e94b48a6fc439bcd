"use strict";
// Two axes against each other. The dots are painted on a canvas, since thousands of elements would be slow.

const NEAR_PX = 14;
const scatter = { x: AXES[1] ?? AXES[0], y: AXES[2] ?? AXES[0], points: [], places: [], at: 0, kept: false };

function scatterPoints() {
  scatter.points = scored.filter((row) => meanOf(row, scatter.x) !== null && meanOf(row, scatter.y) !== null);
  scatter.points.sort((a, b) => meanOf(a, scatter.x) - meanOf(b, scatter.x) || a - b);
}

function fitted(axis) {
  let low = 1, high = 0;
  for (const row of scatter.points) { low = Math.min(low, meanOf(row, axis)); high = Math.max(high, meanOf(row, axis)); }
  const room = Math.max(0.02, 0.04 * (high - low));
  return [low - room, high + room];
}

function drawScatter() {
  const place = $("#scatter .frame"), canvas = $("#scatter canvas");
  const [width, height] = [place.clientWidth, place.clientHeight];
  const axis = (name) => { const range = scatter.points.length ? fitted(name) : [0, 1]; return { range, ticks: ticks(...range, 5) }; };
  const { plot, px, py, inside } = frame({ width, height, margin: { l: 58, r: 10, t: 8, b: 44 }, titles: [`${scatter.x} (mean)`, `${scatter.y} (mean)`],
    x: axis(scatter.x), y: axis(scatter.y) });
  place.replaceChildren(plot);
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  scatter.places = scatter.points.map((row) => [px(meanOf(row, scatter.x)), py(meanOf(row, scatter.y))]);
  scatter.inside = inside;
  paint();
}

function paint() {
  const canvas = $("#scatter canvas"), place = $("#scatter .frame");
  const ratio = devicePixelRatio || 1;
  canvas.width = place.clientWidth * ratio;
  canvas.height = place.clientHeight * ratio;
  const brush = canvas.getContext("2d");
  brush.scale(ratio, ratio);
  const many = scatter.points.length > 2000;
  const radius = many ? 2.2 : 4;
  brush.globalAlpha = many ? 0.45 : 0.75;
  const tints = D.by ? D.by.values.slice(0, MAKER_COLOURS).map((_, code) => makerColour(code)) : [];
  const [other, only] = [colour("other"), colour("overall")];
  scatter.points.forEach((row, at) => {
    brush.fillStyle = D.by ? (tints[D.by.codes[row]] ?? other) : only;
    brush.beginPath();
    brush.arc(...scatter.places[at], radius, 0, 7);
    brush.fill();
  });
  if (!scatter.points.length) return;
  brush.globalAlpha = 1;
  brush.strokeStyle = colour("ink");
  brush.lineWidth = 2;
  brush.beginPath();
  brush.arc(...scatter.places[scatter.at], radius + 4, 0, 7);
  brush.stroke();
}

function see(at) {
  scatter.at = Math.max(0, Math.min(scatter.points.length - 1, at));
  const row = scatter.points[scatter.at];
  $("#scatter .seen").replaceChildren(row === undefined ? el("p", { class: "nothing" }, "No row has both axes.") : card(row, { prompt: true }));
  paint();
}

function nearest(event) {
  const box = $("#scatter canvas").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let found = null, least = NEAR_PX ** 2;
  scatter.places.forEach(([left, top], at) => {
    const away = (left - x) ** 2 + (top - y) ** 2;
    if (away < least) [found, least] = [at, away];
  });
  return found;
}

function onPoint(event, keep) {
  const at = nearest(event);
  if (at === null) return;
  if (keep) scatter.kept = true;
  if (keep || (!scatter.kept && at !== scatter.at)) see(at);
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10, PageUp: 100, PageDown: -100, Home: -Infinity, End: Infinity };

function onKey(event) {
  const step = STEPS[event.key];
  if (event.key === "Enter" && scatter.points.length) showDetail(scatter.points[scatter.at], $("#scatter .card"));
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

function changeScatter(change) {
  Object.assign(scatter, change, { kept: false });
  scatterPoints();
  scatter.at = bestSeen();
  drawScatter();
  see(scatter.at);
}

function startScatter() {
  const section = $("#scatter"), place = $(".plot", section);
  const axes = AXES.map((axis) => [axis, named(axis)]);
  const pick = (key, text) => choice(text, axes, scatter[key], (value) => changeScatter({ [key]: value }));
  $(".tools", section).append(pick("x", "X axis"), pick("y", "Y axis"));
  if (D.by) {
    const shown = D.by.values.slice(0, MAKER_COLOURS).map((name, code) => el("span", { class: "maker" }, dot(code), el("bdi", {}, name)));
    if (D.by.values.length > MAKER_COLOURS) shown.push(el("span", { class: "maker" }, dot(-1), "others"));
    $(".legend", section).append(...shown);
  }
  const canvas = el("canvas", { "aria-hidden": "true" });
  place.append(el("div", { class: "frame" }), canvas);
  place.addEventListener("keydown", onKey);
  canvas.addEventListener("mousemove", (event) => onPoint(event, false));
  canvas.addEventListener("click", (event) => { onPoint(event, true); place.focus({ preventScroll: true }); });
  changeScatter({});
  drawSized($(".frame", place), drawScatter);
  themed.push(paint);
}
