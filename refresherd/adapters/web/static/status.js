// Keeps the page up to date: fetches it again and changes only what differs, so that nothing
// flickers, and selections, the focus and opened details stay.
"use strict";

const PERIOD = 2000; // milliseconds between two updates
const LONGEST = 10000; // the longest pause, and the timeout of an update, in milliseconds
const DEBOUNCE = 250; // milliseconds after the last key in the search field

document.documentElement.classList.add("scripted");

let timer = 0;
let failures = 0;
let newest = 0;

function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
  } else if (old.nodeType === Node.ELEMENT_NODE) {
    morphAttributes(old, fresh);
    morphChildren(old, fresh);
  } else if (old.nodeValue !== fresh.nodeValue) {
    old.nodeValue = fresh.nodeValue;
  }
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    const ours = name === "open" || old.id === "connection";
    if (!ours && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.id !== "connection" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  if (old.id === "connection") return;
  const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const child of fresh.childNodes) {
    const same = child.id ? byId.get(child.id) : at && !at.id ? at : null;
    if (!same) {
      old.insertBefore(document.importNode(child, true), at);
      continue;
    }
    const next = same === at ? at.nextSibling : at;
    if (same !== at) old.insertBefore(same, at);
    at = next;
    morph(same, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function show(connection) {
  const line = document.getElementById("connection");
  if (line.textContent !== connection) line.textContent = connection;
  line.hidden = !connection;
}

async function update() {
  clearTimeout(timer);
  const number = ++newest;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(LONGEST) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== newest) return; // a later request is under way
    if (assets(fresh) !== assets(document)) return location.reload(); // another version
    document.title = fresh.title;
    for (const part of ["header", "main", "footer"]) {
      morph(document.querySelector(part), fresh.querySelector(part));
    }
    failures = 0;
    show("");
  } catch {
    if (number !== newest) return;
    failures += 1;
    const asOf = document.querySelector("#as-of time").textContent;
    show(`The daemon does not answer. This is its status as of ${asOf}; trying again.`);
  }
  timer = setTimeout(update, Math.min(PERIOD * 2 ** Math.max(0, failures - 1), LONGEST));
}

function assets(page) {
  return page.querySelector("script").getAttribute("src");
}

function go(url) {
  history.replaceState(null, "", url);
  update();
}

function filter() {
  const fields = new FormData(document.getElementById("filter"));
  const query = new URLSearchParams([...fields].filter(([, value]) => value));
  go(`/?${query}`);
}

document.addEventListener("input", (event) => {
  if (event.target.closest("#filter")) {
    clearTimeout(timer);
    timer = setTimeout(filter, DEBOUNCE);
  }
});
document.addEventListener("submit", (event) => {
  event.preventDefault();
  filter();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else update();
});
timer = setTimeout(update, PERIOD);
