"use strict";

/* What is shown stands in the address, so that a view can be sent and the back button works:
   #paper=dynts&verdict=undecided,reproduced&claim=ID&run=ID&point=dynts/memory/0/17
   A page inside another one (Streamlit, a notebook, a sandbox) may not change its address: the view is kept here too. */
let view = addressed();
function addressed() {
  const text = location.hash.slice(1).replaceAll("&amp;", "&");
  try { return text.includes("=") ? text : decodeURIComponent(text); } catch { return text; } // mail and chat encode links
}
function readState() {
  const given = new URLSearchParams(view);
  return { paper: given.get("paper"), verdicts: new Set((given.get("verdict") || "").split(",").filter(Boolean)),
    claim: given.get("claim"), run: given.get("run"), point: given.get("point"), cost: given.has("cost") };
}

function changed(changes) {
  const given = new URLSearchParams(view);
  for (const [name, value] of Object.entries(changes)) value ? given.set(name, value) : given.delete(name);
  return given.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
}

function go(changes, { replace = false } = {}) {
  view = changed(changes);
  const to = view ? "#" + view : location.pathname + location.search;
  try {
    replace ? history.replaceState(null, "", to) : history.pushState(null, "", to);
  } catch { /* about:srcdoc and sandboxes: the address stays */ }
  show();
}

function come() {
  view = addressed();
  show();
}

let shownPaper;
function show() {
  const state = readState();
  const papers = [...document.querySelectorAll("section.paper")];
  const one = papers.find((part) => part.dataset.paper === state.paper);
  document.body.dataset.view = one ? "paper" : "all";
  let shown = 0;
  for (const part of papers) {
    let rows = 0;
    for (const row of part.querySelectorAll("tr.claim")) {
      row.hidden = state.verdicts.size > 0 && !state.verdicts.has(row.dataset.verdict);
      rows += !row.hidden;
    }
    part.hidden = one ? part !== one : state.verdicts.size > 0 && rows === 0;
    if (!part.hidden) shown += rows;
    part.querySelector(".nothing").hidden = rows > 0 || state.verdicts.size === 0;
  }
  for (const button of document.querySelectorAll("[data-filter]"))
    button.setAttribute("aria-pressed", state.verdicts.has(button.dataset.filter));
  for (const link of document.querySelectorAll("nav [data-paper]"))
    (link.dataset.paper === (one ? state.paper : "")) ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.getElementById("shown").textContent = `${shown} claim${shown === 1 ? "" : "s"} shown`;
  const title = one ? one.querySelector("h2").textContent : "what was reproduced";
  document.title = `Septet: ${title}, scale ${DATA.scale}`;
  for (const row of document.querySelectorAll("tr.claim")) row.classList.toggle("chosen", Boolean(one) && row.dataset.claim === state.claim);
  if (shownPaper !== undefined && shownPaper !== (state.paper || "") && !state.claim && !state.point) window.scrollTo(0, 0);
  if (state.claim) document.querySelector("tr.chosen")?.scrollIntoView({ block: "center" });
  shownPaper = state.paper || "";
  inspect(state);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && !event.metaKey && !event.ctrlKey && !event.shiftKey) {
    event.preventDefault(); // inside another page, # would lead to that page
    if (!("go" in link.dataset)) {
      document.getElementById(link.hash.slice(1))?.focus();
      return;
    }
    const { paper = "", claim = "", run = "" } = Object.fromEntries(new URLSearchParams(link.getAttribute("href").slice(1)));
    if (run) opener = link;
    go(run ? { run, point: "" } : { paper, claim, run: "", point: "" });
    return;
  }
  const filter = event.target.closest("[data-filter]");
  if (filter) {
    const { verdicts } = readState();
    verdicts.has(filter.dataset.filter) ? verdicts.delete(filter.dataset.filter) : verdicts.add(filter.dataset.filter);
    const before = filter.getBoundingClientRect().top;
    go({ verdict: [...verdicts].join(","), claim: "" }, { replace: true });
    window.scrollBy({ top: filter.getBoundingClientRect().top - before, behavior: "instant" }); // the filter stays put
  }
});
window.addEventListener("hashchange", come);
window.addEventListener("popstate", come);

/* The button says what it does: it turns the colours over. Where they come out as the system has them, they follow it again. */
const themeButton = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const system = () => (systemDark.matches ? "dark" : "light");
const shownTheme = () => ({ light: "light", dark: "dark" })[document.documentElement.dataset.theme] || system();
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  themeButton.textContent = shownTheme() === "dark" ? "Light colours" : "Dark colours";
}
let kept = "auto";
try { kept = localStorage.getItem("septet-theme") || "auto"; } catch { /* a file without storage follows the system */ }
setTheme(["light", "dark"].includes(kept) ? kept : "auto");
systemDark.addEventListener("change", () => setTheme(document.documentElement.dataset.theme));
themeButton.addEventListener("click", () => {
  const wanted = shownTheme() === "dark" ? "light" : "dark";
  const next = wanted === system() ? "auto" : wanted;
  setTheme(next);
  try { localStorage.setItem("septet-theme", next); } catch { /* not kept then */ }
});

document.querySelector(".filters").hidden = themeButton.hidden = false;
document.querySelector(".noscript").hidden = true;
show();
