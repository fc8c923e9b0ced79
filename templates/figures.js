"use strict";

// Pictures are drawn when they come into view. Vega's expressions are interpreted, not compiled: the page forbids eval.
const options = { logLevel: 1, ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true } };
const LARGEST_SQUARE = 520;
const charts = new Set();
const choices = [...document.querySelectorAll("#figure-rows input")];
const shown = document.getElementById("figure-label");
const cost = document.getElementById("figure-cost");
let vega;

function loadVega() {
  vega ??= unpack("vega").then((text) => {
    const script = document.createElement("script"); // the page's policy knows its hash
    script.textContent = text;
    document.head.append(script);
  });
  return vega;
}

async function draw(drawing) {
  const [specifications] = await Promise.all([unpack("figures").then(JSON.parse), loadVega()]);
  const specification = specifications[drawing.dataset.figure];
  shorten(specification.config, drawing.clientWidth);
  for (const parameter of specification.params ?? []) {
    if (parameter.name in picked()) parameter.value = picked()[parameter.name];
  }
  const { view: chart } = await vegaEmbed(drawing, specification, options);
  await fit(chart, drawing, specification);
  drawing.querySelector("svg").setAttribute("aria-label", specification.description);
  charts.add([chart, (specification.params ?? []).map((parameter) => parameter.name)]);
  drawing.dataset.drawn = "";
}

// A picture is as wide as its room, and a square one as wide as leaves its legend beside it. In a narrow room names are
// cut, and legends stand below.
function shorten({ legend, axisY, text }, room) {
  const below = { bottom: { direction: "vertical", anchor: "start" } };
  if (room < 600) Object.assign(legend, { orient: "bottom", columns: 1, labelLimit: 0.8 * room, layout: below });
  if (room < 600) axisY.labelLimit = text.limit = 0.4 * room;
}

async function fit(chart, drawing, specification) {
  if (specification.width.step) return;
  const square = specification.height === specification.width;
  const over = drawing.querySelector("svg").getBoundingClientRect().width - drawing.clientWidth;
  const width = Math.min(Math.max(120, Math.floor(chart.width() - over)), square ? LARGEST_SQUARE : Infinity);
  if (square) chart.height(width);
  await chart.width(width).runAsync();
}

// Which rows and which label the pictures show, of all pictures at once.
function picked() {
  const chosen = choices.filter((box) => box.checked).map((box) => box.value);
  return { chosen, all: Number.MAX_SAFE_INTEGER, ...(shown && { label: shown.value }), ...(cost && { cost: cost.value }) };
}

async function showPictures() {
  tick(choices, "row");
  if (shown) choose(shown, view.get("label"));
  if (cost) choose(cost, view.get("cost"));
  countRows();
  for (const [chart, names] of charts) {
    for (const name of names.filter((one) => one in picked())) chart.signal(name, picked()[name]);
    await chart.runAsync();
  }
}

function countRows() {
  const { chosen } = picked();
  document.getElementById("figure-count")?.replaceChildren(`${chosen.length} of ${choices.length} ${choices.length === 1 ? "row is" : "rows are"} shown`);
}

for (const box of choices) {
  box.addEventListener("change", () => {
    const usual = choices.every((other) => other.checked === other.defaultChecked);
    const { chosen } = picked();
    remember("row", ...(usual ? [] : chosen.length ? chosen : ["none"]));
    showPictures();
  });
}
shown?.addEventListener("change", () => {
  remember("label", shown.value === shown.options[0].value ? "" : shown.value);
  showPictures();
});
cost?.addEventListener("change", () => {
  remember("cost", cost.value === cost.options[0].value ? "" : cost.value);
  showPictures();
});
parts.push(showPictures);

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

addEventListener("beforeprint", () => {
  watcher.disconnect();
  for (const drawing of document.querySelectorAll("[data-figure]:not([data-drawn]):not(:has(svg))")) draw(drawing);
});
