// What there is to draw: one entry a codec or published curve, its points, and its looks.

const SYMBOLS = {
  circle: "M5,0A5,5 0 1 1 -5,0A5,5 0 1 1 5,0Z",
  square: "M4.5,4.5H-4.5V-4.5H4.5Z",
  diamond: "M6,0L0,6L-6,0L0,-6Z",
  "triangle-up": "M-5.5,3.5H5.5L0,-6.5Z",
  "triangle-down": "M-5.5,-3.5H5.5L0,6.5Z",
  cross: "M6,2H2V6H-2V2H-6V-2H-2V-6H2V-2H6Z",
  pentagon: "M5.7,-1.85L3.5,4.85H-3.5L-5.7,-1.85L0,-6Z",
};
const SYMBOL_NAMES = Object.keys(SYMBOLS);
const COLOURS = 7;

// One entry a codec or published curve, in the order of the legend; ours come first and so get the first colours.
const series = (() => {
  const measured = [...codecs].sort((a, b) => isOurs(b) - isOurs(a));
  const list = [];
  let colour = 0;
  const add = (name, published, points) => {
    const anchor = !published && name === report.anchor;
    const symbol = SYMBOL_NAMES[list.length % SYMBOL_NAMES.length];
    list.push({
      name,
      published,
      points,
      symbol,
      colour: anchor ? "anchor" : (colour++ % COLOURS) + 1,
      shown: true,
    });
  };
  for (const name of measured) add(name, false, null);
  for (const curve of report.curves) add(curve.name, true, curve.points);
  return list;
})();

const chosen = { metric: metricNames[0], image: "", axis: "linear", span: "near" };

function pointsOf(entry) {
  const { metric, image } = chosen;
  if (entry.published) {
    if (image) return [];
    return (entry.points[metric] ?? []).map(([bits, amount]) => ({ bits, amount }));
  }
  const source = image ? rows.filter((row) => row.image === image) : report.means;
  return source
    .filter((point) => point.codec === entry.name)
    .map((point) => ({
      bits: point.bits_per_pixel,
      amount: point[metric],
      setting: point.setting,
      images: point.images,
    }))
    .filter((point) => isNumber(point.bits) && isNumber(point.amount))
    .sort((a, b) => a.bits - b.bits);
}

// MS-SSIM crowds below 1; in decibels its curves can be told apart, and it is how its BD-rate compares them.
const height = (amount) => (chosen.metric === "ms_ssim" ? decibel(amount) : amount);

function valueTitle() {
  const { label, unit, higher_is_better: higher } = report.metrics[chosen.metric];
  if (chosen.metric === "ms_ssim") return `${label}, −10 log₁₀(1 − value), dB`;
  return `${label}${unit ? `, ${unit}` : ""}${higher ? "" : " (lower is better)"}`;
}

const colourOf = (entry) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--curve-${entry.colour}`).trim();

function sample(entry) {
  const line = { d: "M0,8H34", class: "line" };
  const marker = { d: SYMBOLS[entry.symbol], transform: "translate(17,8)", class: "marker" };
  const kind = entry.published ? "published" : isOurs(entry.name) ? "ours" : "measured";
  const attributes = {
    viewBox: "0 0 34 16",
    class: `sample ${kind}`,
    "aria-hidden": "true",
    style: `color: var(--curve-${entry.colour})`,
  };
  return element("svg", attributes, element("path", line), element("path", marker));
}
