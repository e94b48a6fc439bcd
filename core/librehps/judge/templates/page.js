"use strict";

const byId = (id) => document.getElementById(id);
const sides = byId("sides");
const KEYS = {
  ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", " ": "tie",
  s: "skip", u: "undo", z: "zoom", p: "pause",
};
const CHOSEN_MS = 120;
const MAX_SECONDS = 1e6;

let rater = null; // The name that marks the answers.
let axes = []; // [axis, question] of each question on a pair.
let shown = null; // The pair on the page, or null.
let given = {}; // Answers on the pair so far, by axis.
let since = 0; // When the pair was drawn, in milliseconds.
let busy = true; // No answer is taken while the pair loads or an answer is sent.

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ rater, ...body }),
  });
  const found = await answer.json();
  // 409: another page of this rater was faster; its next pair is shown.
  if (!answer.ok && answer.status !== 409) throw new Error(found.error || answer.statusText);
  return answer.ok ? found : post("next", {});
}

async function ask(path, body) {
  busy = true;
  enable();
  try {
    draw(await post(path, body));
    byId("problem").hidden = true;
  } catch (error) {
    byId("problem").textContent =
      `No answer from librehps judge: ${error.message}. Start the command again and reload: ` +
      "every answer up to the last one is kept.";
    byId("problem").hidden = false;
    busy = shown === null;
    enable();
  }
}

function draw(state) {
  byId("who").textContent = rater;
  byId("count").textContent = `${state.judged} of ${state.pairs} pairs`;
  byId("bar").max = state.pairs;
  byId("bar").value = state.judged;
  byId("start").hidden = true;
  shown = state.question;
  byId("pair").hidden = shown === null;
  byId("done").hidden = shown !== null;
  for (const button of document.querySelectorAll("[data-do=undo]")) {
    button.dataset.off = state.can_undo ? "" : "1";
  }
  if (shown === null) {
    byId("summary").replaceChildren(...state.summary.map((line) => element("li", line)));
    byId("done").querySelector("h2").focus();
    document.body.dataset.shown = "done";
    busy = false;
    enable();
    return;
  }
  given = {};
  byId("prompt").textContent = shown.prompt;
  unzoom();
  drawQuestion();
  drawSides();
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function drawQuestion() {
  const at = Object.keys(given).length;
  const part = axes.length > 1 ? ` (${at + 1} of ${axes.length})` : "";
  byId("ask").textContent = axes[at][1] + part;
  document.body.dataset.axis = axes[at][0];
}

async function drawSides() {
  const ticket = shown.ticket;
  document.body.dataset.shown = "";
  const made = ["left", "right"].map((side) => {
    const frame = byId(side).querySelector(".frame");
    const media = shown[side].kind === "video" ? clip() : document.createElement("img");
    media.alt = `${side} picture`;
    media.draggable = false;
    frame.replaceChildren(media);
    const event = media.tagName === "VIDEO" ? "canplaythrough" : "load";
    return new Promise((done) => {
      media.addEventListener(event, () => done(media), { once: true });
      media.addEventListener("error", () => {
        const text = "This media cannot be shown in your browser. Press S to skip the pair.";
        const none = element("p", text);
        none.className = "none";
        media.replaceWith(none);
        done(null);
      }, { once: true });
      media.src = `media/${ticket}/${side}`;
    });
  });
  const media = await Promise.all(made);
  if (shown === null || shown.ticket !== ticket) return;
  const clips = media.filter((one) => one !== null && one.tagName === "VIDEO");
  document.querySelector("[data-do=pause]").hidden = clips.length === 0;
  playTogether(clips);
  since = performance.now();
  busy = false;
  enable();
  document.body.dataset.shown = ticket;
}

function clip() {
  const made = document.createElement("video");
  made.muted = true;
  made.playsInline = true;
  made.preload = "auto";
  return made;
}

// Both clips start at the same time; the shorter one waits on its last frame.
function playTogether(clips) {
  const start = () => {
    for (const one of clips) {
      one.currentTime = 0;
      one.play().catch(() => {});
    }
  };
  for (const one of clips) {
    one.addEventListener("ended", () => clips.every((other) => other.ended) && start());
  }
  start();
}

function pause() {
  const clips = [...sides.querySelectorAll("video")];
  const isPlaying = clips.some((one) => !one.paused);
  for (const one of clips) {
    if (isPlaying) one.pause();
    else if (!one.ended) one.play().catch(() => {});
  }
}

function enable() {
  for (const button of document.querySelectorAll("#answers button, #tools button, #done button")) {
    button.disabled = busy || button.dataset.off === "1" ||
      (button.dataset.do.match(/left|right|tie/) !== null && sides.querySelector(".none") !== null);
  }
}

async function answer(side) {
  if (sides.querySelector(".none") !== null) return;
  given[axes[Object.keys(given).length][0]] = side;
  busy = true;
  const marked = side === "tie" ? ["left", "right"] : [side];
  for (const one of marked) byId(one).classList.add("chosen");
  await new Promise((done) => setTimeout(done, CHOSEN_MS));
  for (const one of marked) byId(one).classList.remove("chosen");
  if (Object.keys(given).length < axes.length) {
    busy = false;
    drawQuestion();
    return;
  }
  await send(given);
  // After a failure the last question is open again.
  if (shown !== null && Object.keys(given).length === axes.length) {
    delete given[axes[axes.length - 1][0]];
  }
}

function send(answers) {
  const seconds = Math.min(MAX_SECONDS, Math.round(performance.now() - since) / 1000);
  return ask("answer", { ticket: shown.ticket, sides: answers, seconds });
}

function undo() {
  const answered = Object.keys(given);
  if (shown !== null && answered.length > 0) {
    delete given[answered[answered.length - 1]];
    drawQuestion();
  } else if (document.querySelector("[data-do=undo]").dataset.off !== "1") {
    ask("undo", {});
  }
}

function unzoom() {
  sides.classList.remove("zoomed");
  document.querySelector("[data-do=zoom]").setAttribute("aria-pressed", "false");
  for (const media of sides.querySelectorAll("img, video")) media.removeAttribute("style");
}

// One pixel of the media on one pixel of the screen; `at` is the point to look at, in [0, 1].
function zoom(at = [0.5, 0.5]) {
  if (sides.classList.contains("zoomed")) {
    unzoom();
    return;
  }
  sides.classList.add("zoomed");
  document.querySelector("[data-do=zoom]").setAttribute("aria-pressed", "true");
  for (const media of sides.querySelectorAll("img, video")) {
    const [width, height] = [media.naturalWidth || media.videoWidth, media.naturalHeight || media.videoHeight];
    media.style.width = `${width / devicePixelRatio}px`;
    media.style.height = `${height / devicePixelRatio}px`;
  }
  for (const frame of sides.querySelectorAll(".frame")) look(frame, at);
}

function look(frame, [x, y]) {
  frame.scrollLeft = x * (frame.scrollWidth - frame.clientWidth);
  frame.scrollTop = y * (frame.scrollHeight - frame.clientHeight);
}

function looksAt(frame) {
  const across = frame.scrollWidth - frame.clientWidth;
  const down = frame.scrollHeight - frame.clientHeight;
  return [across > 0 ? frame.scrollLeft / across : 0.5, down > 0 ? frame.scrollTop / down : 0.5];
}

// The frame under the pointer or with the focus leads, the other follows.
for (const frame of sides.querySelectorAll(".frame")) {
  const other = [...sides.querySelectorAll(".frame")].find((one) => one !== frame);
  let from = null;
  frame.addEventListener("scroll", () => {
    if (sides.classList.contains("zoomed") && sides.dataset.leads !== other.parentElement.id) {
      look(other, looksAt(frame));
    }
  });
  for (const event of ["pointerenter", "pointerdown", "focus", "wheel"]) {
    frame.addEventListener(event, () => { sides.dataset.leads = frame.parentElement.id; }, { passive: true });
  }
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") return;
    from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop, false];
  });
  frame.addEventListener("pointermove", (event) => {
    if (from === null || event.buttons === 0 || !sides.classList.contains("zoomed")) return;
    const [x, y] = [from[0] - event.clientX, from[1] - event.clientY];
    from[2] ||= Math.hypot(x - frame.scrollLeft, y - frame.scrollTop) > 4;
    frame.scrollLeft = x;
    frame.scrollTop = y;
  });
  frame.addEventListener("click", (event) => {
    const dragged = from !== null && from[2];
    from = null;
    if (dragged || event.target === frame) return;
    const box = event.target.getBoundingClientRect();
    zoom([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  });
}

function act(name) {
  if (byId("start").hidden === false || busy) return;
  if (name === "undo") undo();
  else if (shown === null) return;
  else if (name === "skip") send({});
  else if (name === "zoom") zoom();
  else if (name === "pause") pause();
  else answer(name);
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.tagName === "INPUT") return;
  const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  // The space bar presses the button that has the focus.
  if (name === undefined || (event.key === " " && event.target.tagName === "BUTTON")) return;
  event.preventDefault();
  act(name);
});

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => {
    act(button.dataset.do);
    // Else the arrow keys would leave a focused frame or button behind.
    button.blur();
  });
}

byId("start").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim();
  if (name === "") return;
  rater = name;
  sessionStorage.setItem("rater", name);
  byId("start").hidden = true;
  ask("next", {});
});

fetch("start").then((answer) => answer.json()).then((found) => {
  axes = found.axes;
  rater = found.rater || sessionStorage.getItem("rater");
  if (rater !== null) {
    ask("next", {});
    return;
  }
  byId("start").hidden = false;
  byId("name").focus();
});
