"use strict";

// Pictures are drawn when they come into view. Vega's expressions are interpreted, not compiled: the page forbids eval.
const options = { logLevel: 1, ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true } };
const charts = new Set();
const choices = [...document.querySelectorAll("#figure-rows input")];
const shown = document.getElementById("figure-label");
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
  await narrow(chart, drawing, specification);
  drawing.querySelector("svg").setAttribute("aria-label", specification.description);
  charts.add([chart, (specification.params ?? []).map((parameter) => parameter.name)]);
  drawing.dataset.drawn = "";
}

// No picture is wider than its room, as far as that leaves something to see: names are cut, then the plot is narrowed.
function shorten({ legend, axisY, text }, room) {
  if (room > 480) return;
  Object.assign(legend, { columns: 1, labelLimit: 0.8 * room });
  axisY.labelLimit = text.limit = 0.4 * room;
}

async function narrow(chart, drawing, specification) {
  const over = drawing.querySelector("svg").getBoundingClientRect().width - drawing.clientWidth;
  if (over <= 0 || specification.width.step) return;
  const width = Math.max(120, chart.width() - over);
  if (specification.height === specification.width) chart.height(width);
  await chart.width(width).runAsync();
}

// Which rows and which label the pictures show, of all pictures at once.
function picked() {
  const chosen = choices.filter((box) => box.checked).map((box) => box.value);
  return { chosen, all: Number.MAX_SAFE_INTEGER, ...(shown && { label: shown.value }) };
}

async function showPictures() {
  tick(choices, "row");
  if (shown) choose(shown, view.get("label"));
  for (const [chart, names] of charts) {
    for (const name of names.filter((one) => one in picked())) chart.signal(name, picked()[name]);
    await chart.runAsync();
  }
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
