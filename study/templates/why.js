// Why the model decided: grey sheets at the end of the page, coloured over the frame that a card shows.
why = (() => {
  const scales = {{ overlays.SCALES | tojson }};
  const words = { for: "what spoke for this view", against: "what spoke against it" };
  const FAINT = {{ overlays.FAINT }}, SHOWN = {{ overlays.SHOWN }}, MOST = {{ overlays.MOST }};
  const SIZE = 128;
  const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const tables = Object.fromEntries(Object.entries(scales).map(([side, colours]) => {
    const stops = colours.map(rgb), table = new Uint8ClampedArray(4 * 256);
    for (let value = 0; value < 256; value += 1) {
      const place = (value / 255) * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
      const opacity = MOST * Math.min(Math.max((value / 255 - FAINT) / (SHOWN - FAINT), 0), 1);
      table.set([0, 1, 2].map((i) => stops[low][i] + (place - low) * (stops[low + 1][i] - stops[low][i])), 4 * value);
      table[4 * value + 3] = 255 * opacity;
    }
    return [side, table];
  }));
  const sides = every("[data-why]").map((button) => button.dataset.why), sheets = new Map();
  const painter = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE }).getContext("2d", { willReadFrequently: true });
  let on = null;

  function load(card) {
    const id = `${on}-${card.dataset.film}`, text = document.getElementById(id);
    if (text && !sheets.has(id)) {
      const { columns, side, at } = text.dataset, sheet = new Image();
      sheet.src = `data:image/webp;base64,${text.textContent}`;
      sheets.set(id, sheet.decode().then(() => ({ sheet, columns: +columns, side: +side, at: at.split(" ") })));
    }
    return sheets.get(id);
  }

  async function draw(card) {
    const wanted = on, maps = wanted && (await load(card));
    if (wanted !== on) return; // switched meanwhile
    const number = card.dataset.film, shown = card.dataset.at ?? document.getElementById(`film-${number}`)?.dataset.peak;
    const k = maps ? maps.at.indexOf(shown) : -1;
    let canvas = card.querySelector("canvas.why");
    if (k < 0) { // off, or a frame of another clip
      if (canvas) canvas.hidden = true;
      return;
    }
    if (!canvas) {
      canvas = Object.assign(document.createElement("canvas"), { className: "why", width: SIZE, height: SIZE });
      card.querySelector(".play").before(canvas);
    }
    const { sheet, columns, side } = maps, table = tables[wanted];
    painter.drawImage(sheet, (k % columns) * side, Math.floor(k / columns) * side, side, side, 0, 0, SIZE, SIZE);
    const pixels = painter.getImageData(0, 0, SIZE, SIZE), { data } = pixels;
    for (let at = 0; at < data.length; at += 4) data.set(table.subarray(4 * data[at], 4 * data[at] + 4), at);
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.hidden = false;
  }

  const legend = document.getElementById("legend");
  function show(side) {
    on = side;
    every("[data-why]").forEach((button) => button.setAttribute("aria-pressed", button.dataset.why === on));
    legend.hidden = !on;
    legend.className = `note ${on ?? ""}`;
    if (on) legend.querySelector("b").textContent = words[on];
    cards.filter((card) => card.dataset.film !== undefined).forEach(draw);
  }

  for (const [side, colours] of Object.entries(scales)) legend.style.setProperty(`--${side}`, `linear-gradient(90deg, ${colours.join(", ")})`);
  every("[data-why]").forEach((button) => button.addEventListener("click", () => show(on === button.dataset.why ? null : button.dataset.why)));
  return { draw: (card) => on && draw(card), next: () => show([...sides, null][sides.indexOf(on) + 1]) };
})();
