"use strict";

// Draw a picture when it comes into view. Vega's expressions are interpreted, not compiled: the page forbids eval.
const specifications = JSON.parse(document.getElementById("figures").textContent);
const options = { ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true } };

async function draw(drawing) {
  const specification = specifications[drawing.dataset.figure];
  if (specification.width > 400) {
    specification.width = "container";
    specification.autosize = { type: "fit-x", contains: "padding" };
  }
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
