// Shows the nearest point of every line under the pointer, the finger or the arrow keys. Without it the dots' own tooltips
// and the table under each chart say the same.
"use strict";

// What lies above and below the lines of a chart, in pixels.
const [TOP, BOTTOM] = [12, 40];

document.addEventListener("pointermove", follow);
document.addEventListener("pointerdown", follow);
document.addEventListener("pointerout", (event) => {
  if (event.pointerType === "mouse" && !event.relatedTarget?.closest?.(".plotted")) {
    clear();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    clear();
  }
});

function follow(event) {
  const svg = event.target.closest?.(".plotted > svg");
  if (!svg) {
    if (event.type === "pointerdown") {
      clear();
    }
    return;
  }
  const box = svg.getBoundingClientRect();
  show(svg, (event.clientX - box.left) / box.width, box);
}

function show(svg, share, box) {
  const near = [];
  for (const series of svg.querySelectorAll(".series")) {
    if (getComputedStyle(series).display === "none") {
      continue;
    }
    const points = JSON.parse(series.dataset.points);
    if (points.length) {
      near.push(
        points.reduce((best, point) => (Math.abs(point[0] - share) < Math.abs(best[0] - share) ? point : best)),
      );
    }
  }
  if (!near.length) {
    return clear();
  }
  const [x, at] = near.reduce((best, point) => (Math.abs(point[0] - share) < Math.abs(best[0] - share) ? point : best));
  const lines = near.filter((point) => Math.abs(point[0] - x) < 0.03).map((point) => point[2]);
  clear();
  const holder = svg.parentElement;
  const around = holder.getBoundingClientRect();
  const pixels = box.left - around.left + x * box.width;
  const line = part("chart-tip-line");
  line.style.left = `${pixels}px`;
  line.style.top = `${TOP}px`;
  line.style.height = `${box.height - TOP - BOTTOM}px`;
  const tip = part("chart-tip");
  tip.textContent = [at, ...lines].join("\n");
  holder.append(line, tip);
  tip.style.top = "16px";
  tip.style.left = `${Math.max(0, Math.min(pixels + 10, around.width - tip.offsetWidth))}px`;
}

function part(name) {
  const element = document.createElement("div");
  element.className = name;
  element.setAttribute("aria-hidden", "true");
  return element;
}

function clear() {
  for (const element of document.querySelectorAll(".chart-tip, .chart-tip-line")) {
    element.remove();
  }
}
