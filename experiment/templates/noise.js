const { columns, cards } = JSON.parse(document.getElementById("rows").textContent);
const decisions = cards.map(() => "");
const articles = [...document.querySelectorAll("article")];

function decide(index, decision) {
  decisions[index] = decisions[index] === decision ? "" : decision;
  const article = articles[index], chosen = decisions[index];
  article.classList.toggle("decided", Boolean(chosen));
  for (const button of article.querySelectorAll("button")) button.classList.toggle("on", button.dataset.decision === chosen);
  const list = article.querySelector("select"), other = [...list.options].some((option) => option.value && option.value === chosen);
  list.value = other ? chosen : "";
  list.classList.toggle("on", other);
  count();
}

function count() {
  const done = decisions.filter(Boolean).length;
  document.getElementById("done").textContent = `${done} of ${decisions.length} decided`;
}

const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

articles.forEach((article, index) => {
  for (const button of article.querySelectorAll("button")) button.addEventListener("click", () => decide(index, button.dataset.decision));
  article.querySelector("select").addEventListener("change", (event) => event.target.value && decide(index, event.target.value));
});
document.getElementById("save").addEventListener("click", () => {
  const rows = cards.map((card, index) => ({ ...card, decision: decisions[index] }));
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((row) => row.map(cell).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
});
count();
