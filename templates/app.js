"use strict";

// Asks the program behind this page, and nobody else; nothing of an image is kept when the page is left.
const find = (selector, inside = document) => inside.querySelector(selector);
const most = Number(document.body.dataset.mostBytes);
let chosen = null; // what is asked about: { file } or { example }
let wanted = ""; // the label whose heat map is shown, in both rows where both have it
let asked = 0; // counts images and choices, so that an answer that comes too late is not shown

// --- asking ---------------------------------------------------------------------------------------------------------

function addressOf(path, parameters) {
  const query = new URLSearchParams(parameters);
  const token = new URLSearchParams(location.search).get("token");
  if (token) query.set("token", token);
  return `${path}?${query}`;
}

async function ask(path, parameters, body) {
  let answer;
  try {
    answer = await fetch(addressOf(path, parameters), body === undefined ? {} : { method: "POST", body });
  } catch {
    throw new Error("The program behind this page does not answer. Look whether harness serve still runs.");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error ?? `The program answered with status ${answer.status}.`);
}

function tell(error) {
  const place = find("#error");
  place.hidden = !error;
  place.textContent = error ? error.message : "";
}

// --- a side of the comparison ---------------------------------------------------------------------------------------

class Side {
  constructor(element) {
    this.element = element;
    this.row = find("select.row", element);
    this.label = find("select.label", element);
    this.labels = [];
    this.row.addEventListener("change", () => { this.showRow(); this.answer(); });
    this.label.addEventListener("change", () => showLabel(this.label.value));
    for (const input of element.querySelectorAll("[data-beside]")) input.addEventListener("change", () => this.answer());
    this.showRow();
  }

  get used() {
    return this.row.value !== "";
  }

  showRow() {
    for (const one of this.element.querySelectorAll(".origin")) one.hidden = one.dataset.row !== this.row.value;
  }

  parameters() {
    const given = { row: this.row.value };
    if (chosen.file) given.name = chosen.file.name;
    else given.example = chosen.example;
    const inputs = this.element.querySelectorAll(`.origin[data-row="${this.row.value}"] [data-beside]`);
    for (const input of inputs) if (input.value.trim()) given[`beside.${input.dataset.beside}`] = input.value.trim();
    return given;
  }

  async answer() {
    this.asked = ++asked;
    const number = this.asked;
    const place = find(".answer-of", this.element);
    if (!chosen || !this.used) {
      place.hidden = true;
      return;
    }
    try {
      const answer = await (await ask("api/predict", this.parameters(), chosen.file ?? "")).json();
      if (number !== this.asked) return;
      this.labels = answer.labels;
      find(".base", this.element).src = answer.picture;
      place.hidden = false;
      this.showLabels();
      await this.drawMap();
    } catch (error) {
      if (number !== this.asked) return;
      place.hidden = true;
      tell(error);
    }
  }

  showLabels() {
    const sorted = [...this.labels];
    const ratio = (one) => (one.threshold === null ? -1 + one.probability : one.probability / one.threshold);
    if (find("#order").value === "ratio") sorted.sort((a, b) => ratio(b) - ratio(a));
    this.label.replaceChildren(...sorted.map((one) => new Option(one.label)));
    wanted ||= sorted[0].label;
    if (this.has(wanted)) this.label.value = wanted;
    find("tbody", this.element).replaceChildren(...sorted.map((one) => this.makeLine(one)));
    this.markLabel();
  }

  has(label) {
    return this.labels.some((one) => one.label === label);
  }

  makeLine(one) {
    const line = document.createElement("tr");
    line.classList.toggle("reached", one.reached === true);
    const head = add(line, "th", "", { scope: "row" });
    const button = add(head, "button", "", { type: "button", title: "show the heat map of this label" });
    button.append(...breakable(one.label));
    button.dataset.label = one.label;
    button.addEventListener("click", () => showLabel(one.label));
    add(head, "span", one.decision, { class: "small decision" });
    if (one.known !== null) add(head, "span", `known: ${one.known}`, { class: "small" });
    const value = add(line, "td", one.probability < 0.0005 ? "< 0.001" : one.probability.toFixed(3));
    if (!one.calibrated) add(value, "span", "score, not calibrated", { class: "small" });
    value.append(drawBar(one.probability, one.threshold));
    add(line, "td", one.prevalence === null ? "unknown" : `${(100 * one.prevalence).toFixed(1)} %`);
    const auroc = add(line, "td", one.auroc === null ? "unknown" : one.auroc.value.toFixed(3));
    const interval = one.auroc?.interval;
    if (interval) add(auroc, "span", `[${interval.map((end) => end.toFixed(3)).join(", ")}]`, { class: "small" });
    return line;
  }

  markLabel() {
    for (const button of this.element.querySelectorAll("tbody button")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === this.label.value));
    }
  }

  async drawMap() {
    this.markLabel();
    const map = find(".map", this.element), status = find(".map-status", this.element), label = this.label.value;
    const number = (this.drawing = ++asked);
    map.hidden = true;
    status.textContent = "is being made";
    try {
      const answer = await ask("api/map", { ...this.parameters(), label }, chosen.file ?? "");
      const picture = await answer.blob();
      if (number !== this.drawing) return;
      if (map.src.startsWith("blob:")) URL.revokeObjectURL(map.src);
      map.src = URL.createObjectURL(picture);
      map.alt = `Heat map of ${label} over the image`;
      map.hidden = false;
      status.textContent = answer.headers.get("Heat-Map");
    } catch (error) {
      if (number === this.drawing) status.textContent = error.message;
    }
  }
}

function add(parent, name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

// A name may break after an underscore.
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part) => [part, document.createElement("wbr")]).slice(0, -1);
}

// The table says the same in numbers, so that readers of the screen do without the bar.
function drawBar(probability, threshold) {
  const space = "http://www.w3.org/2000/svg";
  const bar = document.createElementNS(space, "svg");
  const draw = (name, attributes) => {
    const shape = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    bar.append(shape);
  };
  for (const [key, value] of Object.entries({ class: "bar", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" })) {
    bar.setAttribute(key, value);
  }
  draw("rect", { class: "track", x: 0, y: 0, width: 100, height: 12 });
  draw("rect", { class: "fill", x: 0, y: 1, width: 100 * probability, height: 10 });
  if (threshold !== null) draw("line", { class: "threshold", x1: 100 * threshold, x2: 100 * threshold, y1: -3, y2: 15 });
  return bar;
}

function showLabel(label) {
  wanted = label;
  for (const side of sides) {
    if (!side.has(label)) continue;
    side.label.value = label;
    side.drawMap();
  }
}

const sides = [...document.querySelectorAll(".side")].map((element) => new Side(element));

// --- choosing an image ----------------------------------------------------------------------------------------------

async function look(at, words) {
  chosen = at;
  tell(null);
  for (const button of document.querySelectorAll("#examples button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.example) === at?.example));
  }
  if (at?.file && at.file.size > most) {
    chosen = null;
    tell(new Error(`The file is larger than ${document.body.dataset.mebibytes} MiB, which is the most that this page takes.`));
  }
  find("#status").textContent = chosen ? `${words}: being looked at` : "";
  await Promise.all(sides.map((side) => side.answer()));
  if (chosen !== at) return;
  const shown = sides.some((side) => side.used && !find(".answer-of", side.element).hidden);
  find("#status").textContent = shown ? `${words}: the answers are below.` : "";
  find("#waiting").hidden = shown;
}

function lookAtFile(file) {
  if (file) look({ file }, file.name);
}

const drop = find("#drop");
find("#file").addEventListener("change", (event) => {
  lookAtFile(event.target.files[0]);
  event.target.value = ""; // the same file can be chosen again
});
addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  lookAtFile(event.dataTransfer.files[0]);
});

async function showExamples() {
  const { examples, reason } = await (await ask("api/examples", {})).json();
  find("#no-examples").hidden = !reason;
  find("#no-examples").textContent = reason;
  find("#examples").hidden = examples.length === 0;
  for (const one of examples) {
    const button = add(add(find("#examples ul"), "li", ""), "button", "", { type: "button", "aria-pressed": "false" });
    button.dataset.example = one.example;
    add(button, "img", "", { src: one.picture, alt: "" });
    add(button, "span", "").append(...breakable(one.known));
    button.addEventListener("click", () => look({ example: one.example }, `Test image with ${one.known}`));
  }
}

showExamples().catch(tell);

// --- how it is shown ------------------------------------------------------------------------------------------------

find("#order").addEventListener("change", () => {
  for (const side of sides) if (side.labels.length) side.showLabels();
});

function showOpacity() {
  const value = find("#opacity").value;
  find("#opacity-shown").textContent = `${value} %`;
  for (const map of document.querySelectorAll(".map")) map.style.opacity = value / 100;
}

find("#opacity").addEventListener("input", showOpacity);
showOpacity();

const theme = find("#theme");
try {
  theme.value = localStorage.getItem("theme") ?? "";
} catch {} // some browsers keep nothing
document.documentElement.dataset.theme = theme.value;
theme.addEventListener("change", () => {
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem("theme", theme.value);
  } catch {}
});
