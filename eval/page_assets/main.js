// Everything that needs no plotting library first: tables and pictures are there while it starts.

function start() {
  const measured = codecs.filter((codec) => rows.some((row) => row.codec === codec));
  byId("summary").textContent =
    `${measured.join(", ") || "No codec"} on ${plural(images.length, "image")}: ${plural(rows.length, "file")} written in full, decoded again and measured.`;
  if (report.skipped.length) {
    byId("skipped").textContent = `Skipped: ${report.skipped.join("; ")}`;
    byId("skipped").hidden = false;
  }
  for (const select of document.querySelectorAll("select[data-metric]")) {
    choices(
      select,
      metricNames.map((name) => [name, report.metrics[name].label]),
      chosen.metric,
    );
    select.addEventListener("change", () => {
      chosen.metric = select.value;
      for (const other of document.querySelectorAll("select[data-metric]")) other.value = chosen.metric;
      drawBd();
      drawCurves();
    });
  }
  drawFailures();
  drawBd();
  startSlider();
  startFiles();
  drawAbout();
  startCurves();
}

start();
