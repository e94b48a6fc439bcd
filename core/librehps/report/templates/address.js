"use strict";
// The state of the page in its address: it can be shared, and Back and Forward work. A part of the
// page says which values differ from the start, and shows the values of an address.

const MAX_ADDRESS = 6000;
const address = { parts: [], isShowing: false, at: "" };

// `read` returns [name, value] pairs; `show` gets all values as URLSearchParams.
function addToAddress(read, show) {
  address.parts.push({ read, show });
}

function addressText() {
  const values = new URLSearchParams();
  if (address.at) values.append("at", address.at);
  for (const part of address.parts)
    for (const [name, value] of part.read()) values.append(name, value);
  const text = values.toString();
  return text.length > MAX_ADDRESS ? shortened(values) : text;
}

// Long selections do not fit in an address; the selection's own bar says so.
function shortened(values) {
  values.delete("pick");
  return values.toString();
}

// Call after each change; `place` is the section that changed. Typing replaces, so that Back does not
// go through each letter.
function noteState(place = null, replace = false) {
  if (address.isShowing) return;
  if (place) address.at = place;
  const text = addressText();
  if (text === location.hash.slice(1)) return;
  const where = location.pathname + location.search + (text ? "#" + text : "");
  history[replace ? "replaceState" : "pushState"](null, "", where);
}

function showAddress() {
  const text = location.hash.slice(1);
  if (text && !text.includes("=")) return;
  const values = new URLSearchParams(text);
  address.isShowing = true;
  address.at = values.get("at") ?? "";
  for (const part of address.parts) part.show(values);
  address.isShowing = false;
  const place = address.at ? document.getElementById(address.at) : null;
  if (place && !$("#detail").open) place.scrollIntoView();
}

// Links within the page scroll, and keep the state that stands in the address.
function onLink(event) {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.dataset.open !== undefined) return showDetail(Number(link.dataset.open), null);
  const place = document.getElementById(link.getAttribute("href").slice(1));
  place?.scrollIntoView();
  if (place?.tabIndex === -1) place.focus({ preventScroll: true });
}

function startAddress() {
  document.addEventListener("click", onLink);
  addEventListener("hashchange", showAddress);
  if (location.hash.includes("=")) showAddress();
}

// The number of a page in the address, as one of `count` pages.
const pageIn = (values, name, count) => Math.max(0, Math.min(Math.trunc(Number(values.get(name))) || 0, count - 1));

// The pairs of a part: `names` maps keys of `state` to names in the address; `start` has the values that are left out.
function changed(state, start, names) {
  return Object.entries(names)
    .filter(([key]) => state[key] !== start[key])
    .map(([key, name]) => [name, String(state[key])]);
}
