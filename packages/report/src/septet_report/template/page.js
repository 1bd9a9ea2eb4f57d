"use strict";

/* Small multiples take as many columns as the screen has room for. */
function fitted(spec, room) {
  const config = { ...spec.config, background: "transparent" };
  if (!spec.concat) return { ...spec, config };
  const panel = (spec.concat[0].width || 260) + 100; // plus its axis and the names at the line ends
  const columns = Math.max(1, Math.min(spec.columns || spec.concat.length, Math.floor(room / panel)));
  return { ...spec, config, columns };
}

/* A point leads to the run card that it came from. */
function follow(event, item) {
  const run = item && item.datum && item.datum.run;
  if (run) location.hash = "run-" + run.split(" ")[0];
}

async function drawPlot(plot) {
  if (plot.dataset.state) return;
  plot.dataset.state = "drawing";
  const spec = JSON.parse(document.getElementById(plot.dataset.spec).textContent);
  try {
    const options = { renderer: "svg", actions: false, ast: true, tooltip: { disableDefaultStyle: true } };
    const { view } = await vegaEmbed(plot, fitted(spec, plot.clientWidth), options);
    view.addEventListener("click", follow);
    plot.dataset.state = "drawn";
  } catch (error) {
    plot.dataset.state = "failed";
    plot.textContent = "This figure could not be drawn: " + error.message;
  }
}

/* What comes near the window is drawn first, the rest when the page is idle, so that it is there for print. */
const plots = [...document.querySelectorAll(".plot")];
const watch = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawPlot(entry.target)),
  { rootMargin: "600px" },
);
plots.forEach((plot) => watch.observe(plot));
const idle = window.requestIdleCallback || ((call) => setTimeout(call, 200));
const waiting = [...plots];
function drawNext() {
  const plot = waiting.shift();
  if (plot) drawPlot(plot).then(() => idle(drawNext));
}
idle(drawNext);

/* The details of a run open when a link or a point leads to it. */
function openRun() {
  const run = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = run && run.matches("tbody") && run.querySelector("details");
  if (details) details.open = true;
}
window.addEventListener("hashchange", openRun);
openRun();
