"use strict";

// Draw a picture when it comes into view. Vega's expressions are interpreted, not compiled: the page forbids eval.
const specifications = JSON.parse(document.getElementById("figures").textContent);
const options = { logLevel: 1, ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true } };

async function draw(drawing) {
  const specification = specifications[drawing.dataset.figure];
  const room = drawing.clientWidth - 190; // beside names of rows or labels, and a legend
  if (specification.width > room) specification.width = Math.max(160, room);
  await vegaEmbed(drawing, specification, options);
  const svg = drawing.querySelector("svg");
  if (svg) svg.setAttribute("aria-label", specification.description);
  drawing.dataset.drawn = "";
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((found) => found.isIntersecting)) {
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: "400px" },
);
for (const drawing of document.querySelectorAll("[data-figure]")) watcher.observe(drawing);
