// A click on a heading sorts its table: numbers descending first, names ascending first, unknowns always last.
for (const table of document.querySelectorAll("table.sorts")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.addEventListener("click", () => {
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric;
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value ?? "";
    const compare = (a, b) => (numeric ? a - b : a.localeCompare(b)) * (down ? -1 : 1);
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (value(a) === "") - (value(b) === "") || compare(value(a), value(b)));
    table.tBodies[0].append(...rows);
  }));
}
