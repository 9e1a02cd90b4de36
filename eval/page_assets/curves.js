// The rate-distortion curves, the legend that switches them, and the values under the pointer.

const byFinger = () => matchMedia("(pointer: coarse)").matches;
let plotting = null;

function traceOf(entry, index) {
  const colour = colourOf(entry);
  const ours = !entry.published && isOurs(entry.name);
  const points = pointsOf(entry).filter((point) => isNumber(height(point.amount)));
  return {
    type: "scatter",
    mode: "lines+markers",
    x: points.map((point) => point.bits),
    y: points.map((point) => height(point.amount)),
    customdata: points,
    meta: index,
    visible: entry.shown,
    hoverinfo: "none",
    cliponaxis: true,
    line: {
      color: colour,
      width: ours ? 3 : entry.published ? 1.5 : 2,
      dash: entry.published ? "dash" : "solid",
    },
    marker: { color: colour, size: ours ? 9 : 8, symbol: entry.symbol + (entry.published ? "-open" : "") },
  };
}

// The view: all rates, or those of bincodec and a little more; heights follow from what lies in it.
function ranges(traces) {
  const shown = traces.filter((trace) => trace.visible && trace.x.length);
  const rates = shown.flatMap((trace) => trace.x);
  if (!rates.length) return { x: [0, 1], y: [0, 1] };
  const ours = traces.filter((trace) => isOurs(series[trace.meta].name)).flatMap((trace) => trace.x);
  const near = chosen.span === "near" && ours.length;
  const last = near ? Math.max(...ours) * 1.25 : Math.max(...rates) * 1.03;
  const first = Math.min(...(near ? ours : rates));
  const inside = shown.flatMap((trace) =>
    trace.y.filter((_, i) => trace.x[i] <= last && (trace.x[i] >= first * 0.5 || !near)),
  );
  const heights = inside.length ? inside : shown.flatMap((trace) => trace.y);
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  const margin = (high - low || 1) * 0.06;
  const x = chosen.axis === "log" ? [Math.log10(first / 1.25), Math.log10(last)] : [0, last];
  return { x, y: [low - margin, high + margin] };
}

function layoutFor(traces) {
  const style = getComputedStyle(document.documentElement);
  const pick = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: pick("--grid"),
    linecolor: pick("--line"),
    zeroline: false,
    showline: true,
    ticks: "outside",
    tickcolor: pick("--line"),
  };
  const { x, y } = ranges(traces);
  const narrow = byId("plot").clientWidth < 520;
  const ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20];
  return {
    autosize: true,
    // Switching a codec leaves a view that was zoomed into alone.
    uirevision: JSON.stringify(chosen),
    margin: { l: narrow ? 46 : 60, r: 12, t: 12, b: 48 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: pick("--font"), size: narrow ? 12 : 13, color: pick("--text") },
    showlegend: false,
    hovermode: "closest",
    hoverdistance: 24,
    // With a finger, dragging scrolls the page.
    dragmode: byFinger() ? false : "zoom",
    xaxis: {
      ...axis,
      title: { text: "bits per pixel" },
      type: chosen.axis,
      range: x,
      ...(chosen.axis === "log" ? { tickvals: ticks, ticktext: ticks.map(String) } : {}),
    },
    yaxis: { ...axis, title: { text: plotText(valueTitle()), standoff: 8 }, range: y },
  };
}

// The plotting library reads a little markup in its texts.
const plotText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function drawCurves() {
  byId("readout").hidden = true;
  const single = chosen.image && report.curves.length;
  byId("curves-note").textContent = [
    report.curves.length
      ? "Dashed: published curves, taken from their papers and repositories, not measured here."
      : "",
    single ? "They are means over whole image sets, so they are left out for a single image." : "",
    byFinger() ? "" : "Drag to zoom in, double-click to return.",
  ]
    .filter(Boolean)
    .join(" ");
  if (!plotting) return;
  const traces = series.map(traceOf);
  const plot = byId("plot");
  // A tap reaches the library as a touch and as a click, which it would take for a double click.
  const doubleClick = byFinger() ? false : "reset";
  plotting.react(plot, traces, layoutFor(traces), {
    displayModeBar: false,
    responsive: true,
    scrollZoom: false,
    doubleClick,
  });
}

function drawLegend() {
  byId("legend").replaceChildren(
    ...series.map((entry, index) => {
      const box = element("input", { type: "checkbox", "data-series": index });
      box.checked = entry.shown;
      box.addEventListener("change", () => {
        entry.shown = box.checked;
        drawCurves();
      });
      const label = element("label", {}, box, sample(entry), element("span", {}, entry.name));
      label.addEventListener("pointerenter", () => emphasise(index));
      label.addEventListener("pointerleave", () => emphasise(null));
      return label;
    }),
  );
}

function emphasise(index) {
  // What is switched off or has no points has no element.
  const drawn = (byId("plot").data ?? []).filter((trace) => trace.visible && trace.x.length);
  byId("plot")
    .querySelectorAll(".scatterlayer .trace")
    .forEach((node, i) => {
      node.style.opacity = index === null || drawn[i]?.meta === index ? 1 : 0.15;
    });
}

function showReadout(event) {
  const point = event.points[0];
  const entry = series[point.data.meta];
  const { bits, amount, setting, images: count } = point.customdata;
  const label = report.metrics[chosen.metric].label;
  const extra = chosen.metric === "ms_ssim" ? ` (${number(decibel(amount), 2)} dB)` : "";
  const readout = byId("readout");
  readout.replaceChildren(
    element("strong", {}, entry.name),
    element(
      "span",
      {},
      [entry.published ? "published" : `setting ${setting}`, count ? `mean of ${plural(count, "image")}` : ""]
        .filter(Boolean)
        .join(", "),
    ),
    element("span", {}, `${rate(bits)} bits per pixel`),
    element("span", {}, `${label} ${value(chosen.metric, amount)}${extra}`),
  );
  readout.style.borderColor = colourOf(entry);
  readout.hidden = false;
  const box = byId("plot").getBoundingClientRect();
  const x = point.xaxis.l2p(point.xaxis.d2l(point.x)) + point.xaxis._offset;
  const y = point.yaxis.l2p(point.y) + point.yaxis._offset;
  const left = x + 14 + readout.offsetWidth > box.width ? x - 14 - readout.offsetWidth : x + 14;
  const top = y - readout.offsetHeight - 10 < 0 ? y + 10 : y - readout.offsetHeight - 10;
  readout.style.left = `${Math.max(0, left)}px`;
  readout.style.top = `${top}px`;
}

// Inflates the library and runs it; its hash is in the page's policy, as is that of this script.
async function loadPlotting() {
  const compressed = Uint8Array.from(atob(byId("library").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  if (!window.Plotly) throw new Error("the plotting library did not start");
  return window.Plotly;
}

async function startCurves() {
  drawLegend();
  drawCurves();
  const showAll = (shown) => {
    series.forEach((entry) => {
      entry.shown = shown;
    });
    drawLegend();
    drawCurves();
  };
  byId("show-all").addEventListener("click", () => showAll(true));
  byId("show-none").addEventListener("click", () => showAll(false));
  byId("span").hidden = !codecs.some(isOurs);
  choices(byId("curves-image"), [
    ["", `mean of ${number(images.length, 0)}`],
    ...images.map((image) => [image, shortName(image)]),
  ]);
  byId("curves-image").addEventListener("change", (event) => {
    chosen.image = event.target.value;
    drawCurves();
  });
  for (const radio of document.querySelectorAll("input[name=axis], input[name=span]")) {
    radio.addEventListener("change", () => {
      chosen[radio.name] = radio.value;
      drawCurves();
    });
  }
  // The rest of the page appears first.
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  try {
    plotting = await loadPlotting();
  } catch (error) {
    byId("plot").replaceChildren(
      element(
        "p",
        { class: "alert" },
        `The curves cannot be drawn: ${error.message}. The tables are complete.`,
      ),
    );
    return;
  }
  byId("plot").replaceChildren();
  drawCurves();
  byId("plot").on("plotly_hover", showReadout);
  // The only one of the two that a finger gives.
  byId("plot").on("plotly_click", showReadout);
  byId("plot").on("plotly_unhover", () => {
    byId("readout").hidden = true;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurves);
}
