"use strict"; // Tables that can be ordered by a column and filtered; without this script they are as they were written.
const numberOf = (text) => {
  const found = text.replace(/,/g, "").replace(/\u2212/g, "-").match(/^[\u25b2\u25bc\s]*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)/i);
  return found ? Number(found[1]) : NaN;
};
const compared = (one, other) => {
  const [a, b] = [numberOf(one), numberOf(other)];
  if (isNaN(a) && isNaN(b)) return one.localeCompare(other, undefined, { numeric: true });
  return isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) : a - b;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent.trim();
      const rows = [...body.rows].map((row) => [text(row), row]);
      rows.sort((one, other) => compared(one[0], other[0]) * (descending ? -1 : 1));
      body.append(...rows.map((pair) => pair[1]));
    });
  });
  if (body.rows.length < 8) continue;
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  label.className = "filter";
  input.type = "search";
  label.append("Rows that hold ", input, " ", count);
  table.closest(".scroll").before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [...body.rows].filter((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      return !row.hidden;
    });
    count.textContent = words.length ? shown.length + " of " + body.rows.length : "";
  });
}
