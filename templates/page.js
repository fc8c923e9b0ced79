"use strict";

// Press a heading: sort by it, numbers as numbers, empty cells last; press again: the other way round.
function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compare(a, b) {
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b) : difference;
}

function sortBy(heading) {
  const body = heading.closest("table").tBodies[0];
  const first = heading.dataset.first;
  const other = first === "ascending" ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === first ? other : first;
  for (const cell of heading.parentElement.cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].sort((a, b) => {
    const x = valueOf(a, heading.cellIndex);
    const y = valueOf(b, heading.cellIndex);
    return x === "" || y === "" ? (x === "") - (y === "") : sign * compare(x, y);
  });
  body.append(...rows);
}

for (const button of document.querySelectorAll(".sortable th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// Show the labels' values in one metric at a time; without this script all stand below each other.
const choice = document.getElementById("label-metric");

function showMetric() {
  for (const part of document.querySelectorAll("[data-metric]")) part.hidden = part.dataset.metric !== choice.value;
}

if (choice) {
  document.getElementById("label-tools").hidden = false;
  choice.addEventListener("change", showMetric);
  showMetric();
}

// A link to a row opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

addEventListener("hashchange", openTarget);
openTarget();
