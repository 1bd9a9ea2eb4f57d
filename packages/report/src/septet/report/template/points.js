"use strict";

/* The points of the figures, and the run card behind each: `DATA` is written by the page's builder. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const aside = document.getElementById("inspector");
const spoken = document.getElementById("spoken");
const NS = "http://www.w3.org/2000/svg";
let opener = null;

const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
/* Whole numbers are shown whole; those that a script would round come as text. */
const shownNumber = (value) =>
  typeof value !== "number" ? String(value) : (Number.isInteger(value) ? value.toLocaleString("en")
    : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e9 ? value.toExponential(3)
    : value.toLocaleString("en", { maximumSignificantDigits: 5 })).replaceAll("-", "\u2212");

/* A panel's points: [x, y, value of each column ...]; series and runs are numbers of their lists. */
function pointOf(panel, index) {
  const row = panel.rows[index];
  const point = { x: row[0], y: row[1], index };
  panel.columns.forEach((name, place) => { point[name] = row[place + 2]; });
  if ("series" in point) point.series = panel.series[point.series];
  point.runs = panel.runs[point.run].split(" ").filter(Boolean);
  return point;
}

function lines(panel, point) {
  const found = [];
  panel.columns.forEach((name, place) => {
    if (["series", "run", "low", "high"].includes(name)) return;
    const value = shownNumber(point[name]);
    const interval = name === "mean" && "low" in point ? ` [${shownNumber(point.low)}, ${shownNumber(point.high)}]` : "";
    found.push([panel.titles[place] || "value", value + interval]);
  });
  return found;
}

function nearest(panel, x, y) {
  let best = -1, least = 1600;
  panel.rows.forEach((row, index) => {
    const distance = (row[0] - x) ** 2 + (row[1] - y) ** 2;
    if (distance < least) { least = distance; best = index; }
  });
  return best;
}

function ring(box, point) {
  for (const other of document.querySelectorAll(".ring")) other.remove();
  const made = document.createElementNS(NS, "circle");
  for (const [name, value] of [["class", "ring"], ["r", 5], ["cx", point.x], ["cy", point.y]]) made.setAttribute(name, value);
  box.querySelector("svg").append(made);
}

function mark(box, point) {
  ring(box, point);
  const place = box.querySelector("svg").getBoundingClientRect();
  const scale = place.width / box.querySelector("svg").viewBox.baseVal.width;
  const panel = panelOf(box);
  tip.replaceChildren(element("b", point.series || panel.title), ...lines(panel, point).map(([name, value]) => element("span", `${name}: ${value}`)));
  tip.hidden = false;
  const left = Math.min(place.left + point.x * scale + 12, document.documentElement.clientWidth - tip.offsetWidth - 6);
  const above = place.top + point.y * scale - tip.offsetHeight - 12;
  tip.style.left = `${Math.max(6, left)}px`;
  tip.style.top = `${above < 4 ? place.top + point.y * scale + 14 : above}px`;
}

function unmark(box) {
  box.querySelector(".ring")?.remove();
  tip.hidden = true;
}

const panelOf = (box) => DATA.figures[box.dataset.figure][Number(box.dataset.panel)];

function openPoint(box, index) {
  opener = box;
  go({ point: `${box.dataset.figure}/${box.dataset.panel}/${index}`, run: "" });
}

/* With the keyboard: left and right along a line, up and down to the next line, Enter for the run. */
function step(panel, index, key) {
  if (index < 0) return 0;
  const here = pointOf(panel, index);
  const others = panel.rows.map((_, other) => pointOf(panel, other));
  const same = others.filter((other) => other.series === here.series);
  if (key === "Home") return same[0].index;
  if (key === "End") return same.at(-1).index;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const place = same.findIndex((other) => other.index === index) + (key === "ArrowRight" ? 1 : -1);
    if (same[place]) return same[place].index;
    return same.length > 1 ? index : Math.min(Math.max(index + (key === "ArrowRight" ? 1 : -1), 0), others.length - 1);
  }
  const names = [...new Set(others.map((other) => other.series))];
  const next = names[(names.indexOf(here.series) + (key === "ArrowDown" ? 1 : names.length - 1)) % names.length];
  const line = others.filter((other) => other.series === next);
  return line.reduce((best, other) => (Math.abs(other.x - here.x) < Math.abs(best.x - here.x) ? other : best)).index;
}

for (const box of document.querySelectorAll(".panel")) {
  const panel = panelOf(box);
  if (!panel.rows.length) continue;
  let current = -1;
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "chart");
  box.setAttribute("aria-label", `${box.dataset.name}: ${panel.rows.length} points. Arrow keys move, Enter opens the run.`);
  const reach = (event) => {
    const frame = box.querySelector("svg"), place = frame.getBoundingClientRect();
    const scale = frame.viewBox.baseVal.width / place.width;
    return nearest(panel, (event.clientX - place.left) * scale, (event.clientY - place.top) * scale);
  };
  box.addEventListener("pointermove", (event) => {
    current = reach(event);
    box.classList.toggle("near", current >= 0);
    current >= 0 ? mark(box, pointOf(panel, current)) : unmark(box);
  });
  box.addEventListener("pointerleave", () => { if (document.activeElement !== box) unmark(box); else tip.hidden = true; });
  box.addEventListener("click", (event) => { const index = reach(event); if (index >= 0) openPoint(box, index); });
  box.addEventListener("blur", () => unmark(box));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && current >= 0) { event.preventDefault(); openPoint(box, current); return; }
    if (!/^(Arrow|Home$|End$)/.test(event.key)) return;
    event.preventDefault();
    current = step(panel, current, event.key);
    const point = pointOf(panel, current);
    mark(box, point);
    spoken.textContent = [point.series, ...lines(panel, point).map((pair) => pair.join(" "))].filter(Boolean).join(", ");
  });
}

function copyButton(text) {
  const button = element("button", "Copy", { type: "button" });
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Select and copy"; }
  });
  return button;
}

function definitions(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) if (value) list.append(element("dt", name), element("dd", value));
  return list;
}

function cardParts(id) {
  const card = DATA.cards[id];
  if (!card) return [element("p", `Run ${id} has no card on this page.`)];
  const parts = [element("h3", `Run card ${id}`)];
  if (card.command) {
    const line = element("div", undefined, { class: "command" });
    line.append(element("code", card.command), copyButton(card.command));
    parts.push(element("p", "Reproduce it from an installed checkout:"), line,
      element("p", `Its lineage: make trace POINT=${id}`, { class: "lineage" }));
  }
  const shared = DATA.shared[card.shared];
  parts.push(definitions([
    ["Seeds", card.seeds], ["Task", card.task], ["Methods", card.methods.map(([label]) => label).join(", ")],
    ["Steps", `${card.steps} at ${Math.round(card.rate).toLocaleString("en")} a second`],
    ["Cost", `${shownNumber(card.wall)} s of wall time, ${shownNumber(card.cpu)} s of processor time, ${Math.round(card.memory).toLocaleString("en")} MB at most`],
    ["Started", card.started], ["Host", shared.host], ["Image", shared.image || "none: run natively"], ["Data", card.data],
    ["Versions", shared.versions], ["Commit", shared.commit], ["Sources", shared.sources],
  ]));
  const settings = element("details");
  settings.append(element("summary", "Configuration"), element("pre", card.config, { tabindex: "0" }));
  const labels = element("details");
  labels.append(element("summary", "Methods and their settings"), element("pre", card.methods.map(([label, given]) => `${label}  ${given}`).join("\n"), { tabindex: "0" }));
  return [...parts, settings, labels];
}

function inspect(state) {
  let content = null;
  if (state.point) {
    const parts = state.point.split("/"), figure = `${parts[0]}/${parts[1]}`;
    const panel = (DATA.figures[figure] || [])[Number(parts[2])];
    if (panel && panel.rows[Number(parts[3])]) {
      const point = pointOf(panel, Number(parts[3]));
      const caption = document.querySelector(`[data-figure="${CSS.escape(figure)}"]`)?.closest("figure")?.querySelector("figcaption b");
      content = [element("p", `${caption ? caption.textContent : figure} ${panel.title}`, { class: "from" }), element("h2", point.series || "Point", { id: "inspected" }),
        definitions(lines(panel, point)), ...point.runs.flatMap(cardParts)];
      const box = document.querySelector(`[data-figure="${CSS.escape(figure)}"][data-panel="${parts[2]}"]`);
      if (box && !opener) box.scrollIntoView({ block: "center", behavior: "instant" }); // the address led here
      if (box) ring(box, point);
    }
  } else if (state.run && DATA.cards[state.run]) {
    content = [element("h2", `${DATA.cards[state.run].paper}, ${DATA.cards[state.run].task}`, { id: "inspected" }), ...cardParts(state.run)];
  }
  const opened = aside.hidden && content;
  aside.hidden = !content;
  if (!content) return;
  aside.querySelector(".inside").replaceChildren(...content);
  if (opened || !aside.contains(document.activeElement)) aside.querySelector(".close").focus({ preventScroll: true });
}

function closeInspector() {
  if (aside.hidden) return;
  go({ point: "", run: "" });
  document.querySelectorAll(".ring").forEach((one) => one.remove());
  if (opener && opener.isConnected) opener.focus({ preventScroll: true });
  opener = null;
}
aside.querySelector(".close").addEventListener("click", closeInspector);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") { closeInspector(); tip.hidden = true; } });
