"use strict";

// What the reader has chosen stands in the address, behind #, so that a view can be sent to somebody else.
let view = readView();
const parts = []; // functions that show what the view says, one a part of the page

function readView() {
  const text = location.hash.slice(1);
  return new URLSearchParams(text.includes("=") ? text : text && `at=${text}`); // what is no address is no error
}

function remember(name, ...values) {
  view.delete(name);
  for (const value of values.filter(Boolean)) view.append(name, value);
  const address = location.href.split("#")[0];
  history.replaceState(null, "", String(view) ? `${address}#${view}` : address);
}

// What the view names may be gone from the board since: then it is as if the view did not name it.
function choose(select, value) {
  select.value = value ?? "";
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

function tick(boxes, name) {
  const named = view.getAll(name);
  const known = named.includes("none") || boxes.some((box) => named.includes(box.value));
  for (const box of boxes) box.checked = known ? named.includes(box.value) : box.defaultChecked;
}

function showView() {
  for (const part of parts) part();
}

// A link inside the page changes where the reader is, and nothing else of the view.
addEventListener("hashchange", () => {
  const place = readView();
  if (location.hash.includes("=")) view = place;
  else remember("at", place.get("at"));
  showView();
});

// Texts that few readers open are compressed; each is unpacked once, when it is asked for.
const unpacked = new Map();

function unpack(name) {
  if (!unpacked.has(name)) unpacked.set(name, inflate(document.getElementById(`packed-${name}`).textContent));
  return unpacked.get(name);
}

function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

// Light or dark: as the system says, or as chosen; a link's choice comes before the one that is kept here.
const theme = document.getElementById("theme");

function keep(value) {
  try {
    if (value === undefined) return localStorage.getItem("theme") ?? "";
    localStorage.setItem("theme", value);
  } catch {} // some browsers keep nothing for a page from a file
  return "";
}

function showTheme() {
  choose(theme, view.get("theme") ?? keep());
  document.documentElement.dataset.theme = theme.value;
}

theme.addEventListener("change", () => {
  keep(theme.value);
  remember("theme", theme.value);
  showTheme();
});
parts.push(showTheme);

// The table as a file: it stands in the page once.
const download = document.getElementById("download");
if (download) {
  download.addEventListener("click", async (event) => {
    if (download.href.startsWith("blob:")) return;
    event.preventDefault();
    download.href = URL.createObjectURL(new Blob([await unpack("table")], { type: "text/csv" }));
    download.click();
  });
}

for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
