"use strict";
// Sort a table by the column whose button is pressed: numbers by value, empty cells last, text by name.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex;
    const first = head.dataset.first || "descending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = Number(x) - Number(y);
      return sign * (Number.isNaN(difference) ? x.localeCompare(y) : difference);
    });
    body.append(...rows);
  });
}
// Show the per-label table of the chosen metric.
const choice = document.getElementById("label-metric");
if (choice) {
  choice.addEventListener("change", () => {
    for (const table of document.querySelectorAll("[data-metric]")) {
      table.classList.toggle("hidden", table.dataset.metric !== choice.value);
    }
  });
}
