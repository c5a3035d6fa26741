// Films are pictures of all frames side by side, in text at the end of the page; one is decoded when it is first played.
const films = new Map();
const playing = new Map(); // card → its film and when it began
let why = null; // what draws why the model decided (why.js), on pages that have it
let ticking = false;
const every = (selector, root = document) => [...root.querySelectorAll(selector)];
const cards = every("article.clip");
const shown = () => cards.filter((card) => card.offsetParent);
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function told(text) {
  const line = document.getElementById("told");
  line.textContent = text;
  line.classList.add("on");
  clearTimeout(told.timer);
  told.timer = setTimeout(() => line.classList.remove("on"), 1600);
}

async function load(card) {
  const number = card.dataset.film;
  if (number === undefined) return null;
  if (!films.has(number)) {
    const text = document.getElementById(`film-${number}`), { columns, peak, times, places } = text.dataset;
    const sheet = new Image();
    sheet.src = `data:image/webp;base64,${text.textContent}`;
    const moments = times.split(" ").map(Number), length = moments.pop();
    films.set(number, sheet.decode().then(() => ({ sheet, columns: +columns, peak: +peak, moments, length, places: places.split(" ") })));
  }
  return films.get(number);
}

function draw(card, film, k) {
  const box = card.querySelector(".film"), picture = box.querySelector("img");
  let canvas = box.querySelector("canvas:not(.why)");
  if (!canvas) {
    canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [+picture.getAttribute("width"), +picture.getAttribute("height")];
    picture.after(canvas);
  }
  const { width, height } = canvas;
  canvas.getContext("2d").drawImage(film.sheet, (k % film.columns) * width, Math.floor(k / film.columns) * height, width, height, 0, 0, width, height);
  const cursor = card.querySelector(".cursor");
  cursor.setAttribute("x1", film.places[k]);
  cursor.setAttribute("x2", film.places[k]);
  card.dataset.at = k;
  why?.draw(card);
}

// Each frame is on the screen from its moment to that of the next, and the last one until the first comes again.
function frameAt(film, time) {
  const { moments } = film;
  if (time < moments[0]) return moments.length - 1;
  let k = moments.length - 1;
  while (moments[k] > time) k -= 1;
  return k;
}

function tick(now) {
  for (const [card, { film, start }] of playing) {
    const k = frameAt(film, (now - start) % film.length);
    if (String(k) !== card.dataset.at) draw(card, film, k);
  }
  ticking = playing.size > 0;
  if (ticking) requestAnimationFrame(tick);
}

async function play(card, start = performance.now()) {
  const film = await load(card);
  if (!film || playing.has(card)) return;
  playing.set(card, { film, start: start - film.moments[0] });
  card.classList.add("playing");
  card.querySelector(".play").setAttribute("aria-label", "stop");
  if (!ticking) requestAnimationFrame(tick);
  ticking = true;
}

function stop(card) {
  playing.delete(card);
  card.classList.remove("playing");
  card.querySelector(".play")?.setAttribute("aria-label", "play");
}

const turn = (card) => (playing.has(card) ? stop(card) : play(card));

async function step(card, by) {
  const film = await load(card);
  if (!film) return;
  stop(card);
  const count = film.moments.length, at = card.dataset.at === undefined ? film.peak : +card.dataset.at;
  draw(card, film, (at + by + count) % count);
}

let chosen = null;
function choose(card, scroll = true) {
  chosen?.classList.remove("chosen");
  chosen = card;
  card.classList.add("chosen");
  card.focus({ preventScroll: true });
  if (scroll) card.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
}

// The next card in a direction: along the order of the page, or the nearest in the row above or below.
function neighbour(card, key) {
  const all = shown(), at = all.indexOf(card);
  if (at < 0) return all[0];
  if (key === "ArrowRight") return all[at + 1];
  if (key === "ArrowLeft") return all[at - 1];
  const down = key === "ArrowDown", box = card.getBoundingClientRect(), middle = box.left + box.width / 2;
  const others = (down ? all.slice(at + 1) : all.slice(0, at).reverse()).map((other) => [other, other.getBoundingClientRect()])
    .filter(([, place]) => (down ? place.top >= box.bottom : place.bottom <= box.top));
  if (!others.length) return undefined;
  const row = others.filter(([, place]) => Math.abs(place.top - others[0][1].top) < 4);
  const off = ([, place]) => Math.abs(place.left + place.width / 2 - middle);
  return row.reduce((best, other) => (off(other) < off(best) ? other : best))[0];
}

async function copy(card) {
  const path = card.dataset.path;
  try {
    await navigator.clipboard.writeText(path);
  } catch {
    const area = document.createElement("textarea");
    area.value = path;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    card.focus({ preventScroll: true });
  }
  told(`copied: ${path}`);
}

async function playTogether(id) {
  const section = document.getElementById(id), own = every("article.clip", section);
  section.scrollIntoView({ behavior: still ? "auto" : "smooth" });
  if (!own.length) return;
  choose(own[0], false);
  await Promise.all(own.map(load));
  own.forEach(stop);
  const start = performance.now();
  own.forEach((card) => play(card, start));
}

const filter = document.getElementById("filter"), best = document.getElementById("best"), allPlay = document.getElementById("all-play");
const rows = every("#all tbody tr");
function sift() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), bestOnly = best?.getAttribute("aria-pressed") === "true";
  const fits = (element) => words.every((word) => element.dataset.text.includes(word));
  for (const group of every(".found")) {
    for (const card of every("article.clip", group)) {
      card.hidden = !fits(card) || (bestOnly && card.dataset.rank !== undefined && card.dataset.rank !== "1");
      if (card.hidden) stop(card);
    }
  }
  for (const group of every(".group")) group.hidden = !every("article.clip:not([hidden])", group).length;
  for (const head of every(".found h2")) {
    let next = head.nextElementSibling, any = false;
    for (; next && next.tagName !== "H2"; next = next.nextElementSibling) any ||= next.matches(".group:not([hidden])");
    if (head.closest("#views")) head.hidden = !any;
  }
  rows.forEach((row) => (row.hidden = !fits(row)));
  const left = rows.filter((row) => !row.hidden).length;
  document.getElementById("count").textContent = words.length ? `${left} of ${rows.length} videos` : "";
}
filter.addEventListener("input", sift);
best?.addEventListener("click", () => {
  best.setAttribute("aria-pressed", best.getAttribute("aria-pressed") !== "true");
  sift();
});

// "Play all" plays what is on the screen and nothing else.
const watcher = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => (isIntersecting ? play(target) : stop(target))));
allPlay.addEventListener("click", () => {
  const on = allPlay.getAttribute("aria-pressed") !== "true";
  allPlay.setAttribute("aria-pressed", on);
  if (on) cards.forEach((card) => watcher.observe(card));
  else {
    watcher.disconnect();
    cards.forEach(stop);
  }
});

document.addEventListener("click", (event) => {
  const go = event.target.closest("[data-plays]"), link = event.target.closest('a[href^="#clip-"]');
  if (go) {
    event.preventDefault();
    playTogether(go.dataset.plays);
  } else if (link) {
    const card = document.querySelector(link.getAttribute("href"));
    if (card?.matches("article.clip")) {
      event.preventDefault();
      if (card.hidden) { filter.value = ""; best?.setAttribute("aria-pressed", false); sift(); }
      choose(card);
    }
  } else if (event.target.closest(".film")) {
    const card = event.target.closest("article.clip");
    choose(card, false);
    turn(card);
  } else if (event.target.closest("article.clip")) choose(event.target.closest("article.clip"), false);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === filter) {
    if (event.key === "Escape") { filter.value = ""; sift(); filter.blur(); }
    if (event.key === "Enter") { filter.blur(); if (shown().length) choose(shown().find((card) => card.closest(".found")) ?? shown()[0]); }
    return;
  }
  const card = chosen && chosen.offsetParent ? chosen : null;
  const onControl = event.target.closest?.("button, a, summary, select");
  const act = {
    "/": () => filter.focus(),
    Escape: () => { filter.value = ""; sift(); },
    m: () => document.getElementById("measure-1") && playTogether("measure-1"),
    c: () => card && copy(card),
    e: () => why?.next(),
    ",": () => card && step(card, -1),
    ".": () => card && step(card, 1),
    " ": () => card && !onControl && turn(card),
  }[event.key];
  if (event.key.startsWith("Arrow")) {
    const next = card ? neighbour(card, event.key) : shown()[0];
    if (next) { event.preventDefault(); choose(next); }
  } else if (act && !(event.key === " " && (onControl || !card))) {
    event.preventDefault();
    act();
  }
});
addEventListener("focusin", (event) => { if (event.target.matches?.("article.clip") && event.target !== chosen) choose(event.target, false); });
