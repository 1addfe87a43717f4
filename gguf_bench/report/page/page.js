"use strict";
// Without this script the page is whole but for sorting, filtering and what is said of a mark that is pointed at.

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(table, heads, column));
  });
}

function sort(table, heads, column) {
  const head = heads[column];
  const isText = head.classList.contains("text");
  const first = isText ? "ascending" : "descending";
  const other = isText ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const keyed = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column], isText), row]);
  keyed.sort(([a], [b]) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // what has no value goes last
    return sign * (isText ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  });
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

function valueOf(cell, isText) {
  return cell.dataset.value ?? (isText ? cell.textContent || undefined : undefined);
}

const filter = document.querySelector(".filter");
const rows = [...document.querySelectorAll(".board tbody tr")];
filter.hidden = rows.length < 2;
filter.querySelector("input").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.cells[0].textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  filter.querySelector("output").textContent = words.length ? `${shown} of ${rows.length}` : "";
});

const tip = document.getElementById("tip");
const marks = '.chart [role="graphics-symbol"][aria-label]';
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest?.(marks);
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.getAttribute("aria-label");
  const at = mark.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left + at.width / 2 - tip.offsetWidth / 2), document.documentElement.clientWidth - tip.offsetWidth - 8);
  const above = at.top - tip.offsetHeight - 8;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above > 0 ? above : at.bottom + 8) + scrollY}px`;
});

// On paper everything is open.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const each of closed) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of closed) each.open = false;
});

// A release is opened where its figures stand.
for (const each of document.querySelectorAll("details.document")) {
  const show = () => {
    const [excerpt, figure] = [each.querySelector(".excerpt"), each.querySelector("mark.gold")];
    if (each.open && excerpt && figure) excerpt.scrollTop = figure.offsetTop - excerpt.offsetTop - excerpt.clientHeight / 3;
  };
  each.addEventListener("toggle", show);
  show();
}
