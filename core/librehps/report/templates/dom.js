"use strict";
// Elements, figures and colours. Text of users only ever becomes text nodes and attributes.

const $ = (selector, within = document) => within.querySelector(selector);

function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (key === "css") for (const [rule, v] of Object.entries(value)) element.style.setProperty(rule, v);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const button = (text, act, properties = {}) => el("button", { type: "button", on: { click: act }, ...properties }, text);

function choice(label, options, value, act) {
  const list = el("select", { on: { change: (event) => act(event.target.value) } });
  for (const [key, text] of options) list.append(el("option", { value: key }, text));
  list.value = value;
  return el("label", { class: "field" }, el("span", {}, label), list);
}

const whole = new Intl.NumberFormat("en");
const count = (number, one, many = one + "s") => `${whole.format(number)} ${number === 1 ? one : many}`;
const cut = (text, most = 40) => (text.length <= most ? text : text.slice(0, most - 1) + "…");
const figure = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const share = (value, digits = 1) => (value === null || value === undefined ? "–" : (100 * value).toFixed(digits) + " %");
const named = (axis) => axis[0].toUpperCase() + axis.slice(1);

function pager(place, total, size, page, go, what) {
  place.replaceChildren();
  const pages = Math.ceil(total / size);
  if (pages < 2) return;
  const first = page * size + 1;
  const last = Math.min(total, first + size - 1);
  const step = (text, to, name) =>
    button(text, () => go(to), { "aria-label": name, disabled: to < 0 || to >= pages || to === page });
  place.append(
    step("«", 0, `First page of ${what}`),
    step("‹", page - 1, `Previous page of ${what}`),
    el("span", { class: "tabular" }, `${whole.format(first)}–${whole.format(last)} of ${whole.format(total)}`),
    step("›", page + 1, `Next page of ${what}`),
    step("»", pages - 1, `Last page of ${what}`),
  );
}

// Keeps the keyboard focus when the buttons of a pager are redrawn or disabled.
function keepFocus(place, draw) {
  const name = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  draw();
  if (name === null) return;
  const buttons = [...place.querySelectorAll("button:not([disabled])")];
  (buttons.find((one) => one.getAttribute("aria-label") === name) ?? buttons[0])?.focus();
}

const root = document.documentElement;
const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const themed = [];

function themeChanged() {
  const toggle = $("#theme");
  toggle.textContent = isDark() ? "☀" : "☾";
  toggle.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  for (const act of themed) act();
}

function startTheme() {
  $("#theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    themeChanged();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeChanged);
  themeChanged();
}
