"use strict";

// The labels in one metric at a time: the objective stands in the page, the others are unpacked.
const choice = document.getElementById("label-metric");

async function showMetric() {
  choose(choice, view.get("metric"));
  const metric = choice.value;
  const table = document.querySelector("table.labels");
  let body = [...table.tBodies].find((one) => one.dataset.metric === metric);
  if (!body) {
    body = table.createTBody();
    body.dataset.metric = metric;
    body.innerHTML = JSON.parse(await unpack("labels"))[metric]; // made and escaped with the page
    showFilters();
  }
  for (const one of table.tBodies) one.hidden = one.dataset.metric !== choice.value;
  keepStops();
}

if (choice) {
  choice.addEventListener("change", () => {
    remember("metric", choice.value === choice.options[0].value ? "" : choice.value);
    showMetric();
  });
  parts.push(showMetric);
}

// What a cell means, for the pointer and for the keyboard: one stop of the tab key a table, arrows from cell to cell.
const tip = document.getElementById("tip");

function explain(cell) {
  const table = cell.closest("table");
  if (!table.matches(".labels")) return cell.dataset.tip;
  const head = table.tHead.rows[0].cells[cell.cellIndex];
  const [low, high] = (cell.dataset.interval ?? "").split(" ");
  const metric = cell.closest("tbody").dataset.metric;
  const called = [...choice.options].find((option) => option.value === metric).text;
  const interval = cell.dataset.interval ? `95 % from ${low} to ${high}, ${table.dataset[metric === choice.options[0].value ? "objective" : "others"]}` : "";
  const mark = cell.matches(".best") ? "the best of its column" : cell.matches(".tied") ? "does not differ significantly from the best of its column" : "";
  const lines = [`${cell.parentElement.cells[0].dataset.name}, ${head.dataset.name}`];
  lines.push(cell.textContent ? `${called} ${Number.parseFloat(cell.textContent).toFixed(3)}` : `${called} is undefined`);
  return [...lines, interval, mark, head.dataset.counts].filter(Boolean).join("\n");
}

function showTip(cell) {
  const text = cell && explain(cell);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const [box, room] = [cell.getBoundingClientRect(), tip.getBoundingClientRect()];
  const below = box.bottom + 6 + room.height < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - room.width - 8))}px`;
  tip.style.top = `${below ? box.bottom + 6 : box.top - room.height - 6}px`;
}

const explained = "table.labels tbody td, table.ranking td[data-tip]";

function moveTo(cell, from) {
  if (!cell) return;
  from?.removeAttribute("tabindex");
  stopAt(cell);
  cell.focus();
}

function stopAt(cell) {
  cell.tabIndex = 0;
  cell.setAttribute("aria-describedby", "tip");
}

function neighbor(cell, key) {
  const rows = [...cell.closest("tbody").rows].filter((row) => !row.hidden);
  const place = rows.indexOf(cell.parentElement);
  const inRow = [...cell.parentElement.querySelectorAll("td")].filter((one) => one.matches(explained) && !one.hidden);
  const found = {
    ArrowRight: () => inRow[inRow.indexOf(cell) + 1],
    ArrowLeft: () => inRow[inRow.indexOf(cell) - 1],
    ArrowDown: () => rows[place + 1]?.cells[cell.cellIndex],
    ArrowUp: () => rows[place - 1]?.cells[cell.cellIndex],
    Home: () => inRow[0],
    End: () => inRow.at(-1),
  }[key];
  return found?.();
}

// A stop that is hidden gives way to the first cell that is shown.
function keepStops() {
  for (const table of document.querySelectorAll("table.labels, table.ranking")) {
    const stop = table.querySelector('td[tabindex="0"]');
    if (stop?.checkVisibility()) continue;
    stop?.removeAttribute("tabindex");
    const first = [...table.querySelectorAll(explained)].find((cell) => cell.checkVisibility());
    if (first) stopAt(first);
  }
}

for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => showTip(event.target.closest?.(explained)));
}
document.addEventListener("focusout", () => showTip(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return showTip(null);
  const cell = event.target.closest?.(explained);
  const next = cell && neighbor(cell, event.key);
  if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  moveTo(next.matches(explained) ? next : null, cell);
});
addEventListener("scroll", () => showTip(document.querySelector(`:is(${explained}):is(:hover, :focus)`)), { capture: true, passive: true });
