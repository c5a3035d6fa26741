// Words that all must occur in the name of a study, or among `ready` and `not yet`.
const filter = document.getElementById("filter"), rows = [...document.querySelectorAll("tbody tr")];
function sift() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  rows.forEach((row) => (row.hidden = !words.every((word) => row.dataset.text.includes(word))));
  document.getElementById("count").textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} studies` : "";
}
filter.addEventListener("input", sift);
addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== filter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape") {
    filter.value = "";
    sift();
    filter.blur();
  }
});
