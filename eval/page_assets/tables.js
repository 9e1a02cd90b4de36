// The tables: BD-rates of the chosen metric, every file or their means, failures, and what was measured with what.

const cell = (text, kind = "") => element("td", kind ? { class: kind } : {}, text);
const heading = (text, kind = "") =>
  element("th", kind ? { class: kind, scope: "col" } : { scope: "col" }, text);
const rowHeading = (...children) => element("th", { scope: "row" }, ...children);

function drawTable(table, caption, head, body) {
  table.replaceChildren(
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
}

// From zero, left for fewer bits; `low` and `high` are the ends of the scale and hold zero.
function bar(percent, low, high) {
  const share = (amount) => (100 * (amount - low)) / (high - low);
  const style = `left: ${share(Math.min(0, percent))}%; right: ${100 - share(Math.max(0, percent))}%`;
  return element(
    "span",
    { class: `bar ${percent < 0 ? "fewer" : "more"}`, "aria-hidden": "true" },
    element("span", { style }),
  );
}

function bdRow(entry, scale) {
  const { metric } = entry;
  const look = series.find((candidate) => candidate.name === entry.codec);
  const kind = { class: look?.published ? "published" : "measured" };
  const name = rowHeading(...(look ? [sample(look)] : []), element("span", {}, entry.codec));
  if (!isNumber(entry.rate_percent)) {
    const text = `no number: ${entry.reason ?? "unknown"}`;
    return element("tr", kind, name, element("td", { colspan: 5, class: "reason" }, text));
  }
  const unit = metric === "ms_ssim" ? "dB" : report.metrics[metric].unit;
  const rates = entry.bits_per_pixel?.map(rate) ?? ["–"];
  return element(
    "tr",
    kind,
    name,
    cell(`${signed(entry.rate_percent, 1)} %`, "number strong"),
    element("td", { class: "bar-cell" }, bar(entry.rate_percent, ...scale)),
    cell(inUnit(signed(entry.gain_db, unit === "dB" ? 2 : 4), unit), "number"),
    cell(`${number(entry.low, digitsOf(metric))} to ${value(metric, entry.high)}`, "number"),
    cell(rates.join(" to "), "number"),
  );
}

function drawBd() {
  const { label } = report.metrics[chosen.metric];
  const entries = report.bd.filter((entry) => entry.metric === chosen.metric);
  const known = (entry) => (isNumber(entry.rate_percent) ? entry.rate_percent : Infinity);
  entries.sort((a, b) => (known(a) === known(b) ? 0 : known(a) - known(b)));
  const rates = entries.map((entry) => entry.rate_percent ?? 0);
  const scale = [Math.min(-1, ...rates), Math.max(0, ...rates)];
  const anchor = entries[0]?.anchor ?? report.anchor;
  const right = ["BD-rate", "", "Gain", `Over ${label}`, "Its bits per pixel"];
  const head = [heading("Codec"), ...right.map((text) => heading(text, "number"))];
  const caption = entries.length
    ? `Against ${anchor}, at equal ${label}`
    : `No BD-rates for ${label}: they need rows of ${anchor}.`;
  const body = entries.map((entry) => bdRow(entry, scale));
  drawTable(byId("bd-table"), caption, entries.length ? head : [], body);
}

// Columns of the table of files: name, heading, how a value is written.
const MEAN_COLUMNS = [
  ["codec", "Codec", String],
  ["setting", "Setting", (amount) => (isNumber(amount) ? String(amount) : (amount ?? "–")), "number"],
  ["images", "Images", (amount) => number(amount, 0), "number"],
  ["bits_per_pixel", "Bits per pixel", rate, "number"],
  ...metricNames.map((name) => [
    name,
    inUnit(report.metrics[name].label, report.metrics[name].unit),
    (amount) => number(amount, digitsOf(name)),
    "number",
  ]),
];
const FILE_COLUMNS = [
  ["image", "Image", shortName],
  ...MEAN_COLUMNS.slice(0, 2),
  ["bytes", "Bytes", (amount) => number(amount, 0), "number"],
  ...MEAN_COLUMNS.slice(3),
  ["encode_seconds", "Encode s", (amount) => number(amount, 3), "number"],
  ["decode_seconds", "Decode s", (amount) => number(amount, 3), "number"],
];
const sorting = { column: null, falling: false };

function compare(a, b) {
  const [x, y] = [a[sorting.column], b[sorting.column]];
  // What has no value comes last either way.
  const [lacksX, lacksY] = [x ?? null, y ?? null].map((amount) => amount === null);
  if (lacksX || lacksY) return lacksX - lacksY;
  const order =
    isNumber(x) && isNumber(y) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
  return sorting.falling ? -order : order;
}

function sortButton([name, text, , kind]) {
  const active = sorting.column === name;
  const arrow = element(
    "span",
    { class: "arrow", "aria-hidden": "true" },
    active ? (sorting.falling ? "▼" : "▲") : "",
  );
  const button = element("button", { type: "button", "data-column": name }, text, arrow);
  button.addEventListener("click", () => {
    sorting.falling = active && !sorting.falling;
    sorting.column = name;
    drawFiles();
    byId("files-table").querySelector(`button[data-column="${name}"]`).focus();
  });
  const order = active ? (sorting.falling ? "descending" : "ascending") : "none";
  return element("th", { scope: "col", "aria-sort": order, class: kind ?? "" }, button);
}

function drawFiles() {
  const [image, codec] = [byId("files-image").value, byId("files-codec").value];
  const means = image === "mean";
  const columns = means ? MEAN_COLUMNS : FILE_COLUMNS;
  const listed = means ? report.means : rows;
  const shown = listed.filter(
    (row) =>
      (means || image === "all" || `=${row.image}` === image) &&
      (codec === "all" || `=${row.codec}` === codec),
  );
  if (columns.some(([name]) => name === sorting.column)) shown.sort(compare);
  const body = shown.map((row) =>
    element("tr", {}, ...columns.map(([name, , write, kind]) => cell(write(row[name]), kind))),
  );
  drawTable(
    byId("files-table"),
    means ? "Means over all images" : "Single files",
    columns.map(sortButton),
    body,
  );
  byId("files-count").textContent = plural(shown.length, "row");
}

function startFiles() {
  // A letter before each name: no image or codec can be mistaken for "all" or "mean".
  choices(byId("files-image"), [
    ["mean", "mean over all"],
    ["all", "all, one by one"],
    ...images.map((image) => [`=${image}`, shortName(image)]),
  ]);
  choices(byId("files-codec"), [["all", "all"], ...codecs.map((codec) => [`=${codec}`, codec])]);
  byId("files-image").addEventListener("change", drawFiles);
  byId("files-codec").addEventListener("change", drawFiles);
  drawFiles();
}

function drawFailures() {
  const failures = report.failures;
  if (!failures.length) return;
  const body = failures.map((failure) =>
    element(
      "tr",
      {},
      cell(shortName(failure.image)),
      cell(failure.codec ?? "all"),
      cell(String(failure.setting ?? "–"), "number"),
      cell(failure.reason, "reason"),
    ),
  );
  const head = [heading("Image"), heading("Codec"), heading("Setting", "number"), heading("Reason")];
  drawTable(byId("failures-table"), "What is missing from the tables above", head, body);
  byId("failures").hidden = false;
  byId("alert").hidden = false;
  byId("alert").firstElementChild.textContent =
    `${plural(failures.length, "result")} failed; what is missing, and why`;
}

function sourceOf(source) {
  return /^https?:\/\/\S+$/.test(source) ? element("a", { href: source, rel: "noreferrer" }, source) : source;
}

function drawDropped() {
  if (!report.dropped.length) return;
  const settings = report.dropped.map(
    (entry) => `${entry.codec} ${entry.setting} (${entry.images} of ${entry.total})`,
  );
  byId("dropped").textContent = `Without means, as images failed there: ${settings.join(", ")}.`;
  byId("dropped").hidden = false;
}

function drawAbout() {
  drawDropped();
  const line = (kind, name, text) =>
    element(
      "tr",
      {},
      cell(kind),
      rowHeading(element("span", {}, name)),
      element("td", { class: "reason" }, text),
    );
  const body = [
    ...Object.entries(report.codecs).map(([name, about]) => line("codec", name, about)),
    ...metricNames.map((name) =>
      line(
        "metric",
        report.metrics[name].label,
        `${report.metrics[name].about ?? ""}; ${report.metrics[name].higher_is_better ? "higher" : "lower"} is better`,
      ),
    ),
    ...report.curves.map((curve) => line("published", curve.name, sourceOf(curve.source ?? ""))),
  ];
  drawTable(
    byId("about-table"),
    "Codecs, metrics and sources",
    [heading(""), heading("Name"), heading("About")],
    body,
  );
}
