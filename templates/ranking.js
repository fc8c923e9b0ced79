"use strict";

// The ranking: sorted by a column, filtered, with the columns that were chosen.
const ranking = document.querySelector("table.ranking");
const ranked = [...ranking.tBodies[0].rows];
const headings = [...ranking.tHead.rows[0].cells];
const filters = [...document.querySelectorAll("[data-filter]")];
const search = document.getElementById("search");
const alphabet = new Intl.Collator("en", { numeric: true });

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (headings[column].dataset.kind !== "number") return text;
  return text === "" ? NaN : Number.parseFloat(text.replaceAll(",", ""));
}

function showOrder() {
  const [name, order] = [view.get("sort"), view.get("order")];
  const place = headings.findIndex((heading) => heading.dataset.column === name);
  for (const heading of headings) heading.removeAttribute("aria-sort");
  if (place < 0) return ranking.tBodies[0].append(...ranked);
  headings[place].setAttribute("aria-sort", order === "descending" ? order : "ascending");
  const sign = order === "descending" ? -1 : 1;
  const none = (value) => value === "" || Number.isNaN(value);
  const compare = (a, b) => sign * (typeof a === "number" ? a - b : alphabet.compare(a, b));
  const keyed = ranked.map((row) => [valueOf(row, place), row]);
  keyed.sort(([a], [b]) => (none(a) || none(b) ? none(a) - none(b) : compare(a, b))); // empty cells stay last
  ranking.tBodies[0].append(...keyed.map(([, row]) => row));
}

function sortBy(heading) {
  const first = heading.dataset.first;
  const other = first === "ascending" ? "descending" : "ascending";
  remember("order", heading.getAttribute("aria-sort") === first ? other : first);
  remember("sort", heading.dataset.column);
  showOrder();
}

for (const button of ranking.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
parts.push(showOrder);

// A row that is filtered out leaves the labels and the list of rows, too.
function showFilters() {
  for (const filter of filters) choose(filter, view.get(filter.dataset.filter));
  if (search !== document.activeElement) search.value = view.get("search") ?? "";
  const words = (view.get("search") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const out = new Set();
  for (const row of ranked) {
    const fits = filters.every((filter) => !filter.value || row.dataset[filter.dataset.filter] === filter.value);
    const text = words.length ? `${row.dataset.row} ${row.textContent}`.toLowerCase() : "";
    if (!fits || !words.every((word) => text.includes(word))) out.add(row.dataset.row);
  }
  for (const element of document.querySelectorAll("[data-row]")) element.hidden = out.has(element.dataset.row);
  document.getElementById("count").textContent = out.size ? `${ranked.length - out.size} of ${ranked.length} rows` : "";
  document.getElementById("everything").hidden = !out.size;
  keepStops();
}

for (const filter of filters) {
  filter.addEventListener("change", () => {
    remember(filter.dataset.filter, filter.value);
    showFilters();
  });
}
search.addEventListener("input", () => {
  remember("search", search.value.trim());
  showFilters();
});
document.getElementById("everything").addEventListener("click", () => {
  for (const name of ["search", ...filters.map((filter) => filter.dataset.filter)]) remember(name);
  search.value = "";
  showFilters();
  search.focus();
});
parts.push(showFilters);

// Columns: those that the board asks for, until others are chosen.
const boxes = [...document.querySelectorAll("#columns input")];

function showColumns() {
  tick(boxes, "column");
  const out = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
  headings.forEach((heading, place) => {
    const hidden = out.has(heading.dataset.column);
    if (heading.hidden === hidden) return;
    heading.hidden = hidden;
    for (const row of ranked) row.cells[place].hidden = hidden;
  });
  keepStops();
}

for (const box of boxes) {
  box.addEventListener("change", () => {
    const usual = boxes.every((other) => other.checked === other.defaultChecked);
    const chosen = boxes.filter((other) => other.checked).map((other) => other.value);
    remember("column", ...(usual ? [] : chosen.length ? chosen : ["none"]));
    showColumns();
  });
}
parts.push(showColumns);

// The table for a paper: copied whole, or where the browser does not allow that, selected.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    let told = "Copied.";
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      getSelection().selectAllChildren(text);
      told = "Selected: press Ctrl-C or Cmd-C to copy.";
    }
    button.nextElementSibling.textContent = told;
  });
}

// Where the reader is: a row is opened, its details unpacked first.
async function fill(row) {
  const room = row.querySelector(".room");
  if (!room || room.dataset.filled !== undefined) return;
  room.dataset.filled = "";
  room.innerHTML = JSON.parse(await unpack("rows"))[row.id] ?? ""; // made and escaped with the page
}

async function showPlace() {
  const place = document.getElementById(view.get("at") ?? "");
  if (!place) return;
  if (place instanceof HTMLDetailsElement) {
    await fill(place);
    place.open = true;
  }
  place.scrollIntoView();
}

for (const row of document.querySelectorAll("details[data-row]")) {
  row.addEventListener("toggle", () => {
    if (row.open) fill(row);
    if (row.open) remember("at", row.id);
    else if (view.get("at") === row.id) remember("at");
  });
}
