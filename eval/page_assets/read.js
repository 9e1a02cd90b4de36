// The report, and how its values are written. Text enters the page as text nodes only, never as markup.

const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const namespace =
    tag === "svg" || tag === "path" ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.map((child) => child ?? ""));
  return node;
}

function choices(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => element("option", { value }, text)));
  select.value = chosen ?? entries[0]?.[0] ?? "";
}

const report = JSON.parse(byId("report").textContent);
const rows = report.rows.values.map((values) =>
  Object.fromEntries(report.rows.columns.map((name, i) => [name, values[i]])),
);
const metricNames = Object.keys(report.metrics);
const images = [...new Set(rows.map((row) => row.image))];
const codecs = [...new Set([...Object.keys(report.codecs), ...rows.map((row) => row.codec)])];

// Paths lose the folder that they all share.
const shortNames = (() => {
  const known = [
    ...new Set([
      ...images,
      ...report.failures.map((failure) => failure.image),
      ...report.pictures.map((p) => p.image),
    ]),
  ];
  const folder = (name) => name.slice(0, Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1);
  let shared = known.length ? folder(known[0]) : "";
  while (shared && !known.every((name) => name.startsWith(shared))) shared = folder(shared.slice(0, -1));
  return new Map(known.map((name) => [name, name.slice(shared.length)]));
})();
const shortName = (image) => shortNames.get(image) ?? image;

const isOurs = (codec) => codec === "bincodec" || codec.startsWith("bincodec:");
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function number(value, digits) {
  if (!isNumber(value)) return "–";
  return value
    .toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
    .replace("-", "−");
}

const signed = (value, digits) => (isNumber(value) ? (value > 0 ? "+" : "") + number(value, digits) : "–");
const rate = (value) => number(value, isNumber(value) && value < 0.1 ? 4 : 3);
const digitsOf = (metric) =>
  report.metrics[metric].unit === "dB" ? 2 : report.metrics[metric].label.startsWith("SSIMULACRA") ? 2 : 4;
const inUnit = (text, unit) => (unit && text !== "–" ? `${text} ${unit}` : text);
const value = (metric, amount) => inUnit(number(amount, digitsOf(metric)), report.metrics[metric].unit);
const decibel = (similarity) =>
  isNumber(similarity) && similarity < 1 ? -10 * Math.log10(1 - similarity) : null;
const plural = (count, one, many = `${one}s`) => `${number(count, 0)} ${count === 1 ? one : many}`;
