// Two pictures of about the same number of bytes, one over the other, and the boundary between them.

const view = { boundary: 50, zoom: 1, x: 0.5, y: 0.5 };
const limit = (amount, low, high) => Math.min(high, Math.max(low, amount));

function comparison() {
  const image = byId("picture-image").value;
  const target = byId("picture-target").value;
  return report.pictures.find((entry) => entry.image === image && String(entry.target) === target);
}

// The original stands among the pictures as one more codec.
function picturesOf(entry) {
  return [
    ...entry.pictures.map((picture) => ({ ...picture, name: picture.codec })),
    { name: "original", source: entry.original },
  ];
}

function showSide(side, entry) {
  const picture = picturesOf(entry)[Number(byId(`picture-${side}`).value)];
  const image = byId(side);
  const { type, textContent } = byId(picture.source);
  image.src = `data:${type};base64,${textContent}`;
  image.alt = `${shortName(entry.image)}, ${picture.name}`;
  const facts = picture.codec
    ? [
        `setting ${picture.setting}`,
        plural(picture.bytes, "byte"),
        `${rate(picture.bits_per_pixel)} bpp`,
        `PSNR ${inUnit(number(picture.psnr, 2), "dB")}`,
      ]
    : ["as it was before coding"];
  byId(`caption-${side}`).replaceChildren(
    element("strong", {}, picture.name),
    ...facts.map((fact) => element("span", {}, fact)),
  );
}

function showPictures() {
  const entry = comparison();
  const stage = byId("stage");
  stage.style.aspectRatio = `${entry.width} / ${entry.height}`;
  // No larger than life while it fits, and never taller than the window.
  const width = `min(max(${entry.width}px, 36rem), ${(80 * entry.width) / entry.height}vh)`;
  stage.style.maxWidth = width;
  byId("captions").style.maxWidth = `max(${width}, 24rem)`;
  showSide("left", entry);
  showSide("right", entry);
  place();
}

function place() {
  const stage = byId("stage");
  const { zoom, boundary } = view;
  view.x = limit(view.x, 0.5 / zoom, 1 - 0.5 / zoom);
  view.y = limit(view.y, 0.5 / zoom, 1 - 0.5 / zoom);
  const move = `translate(${100 * (0.5 - view.x * zoom)}%, ${100 * (0.5 - view.y * zoom)}%) scale(${zoom})`;
  for (const side of ["left", "right"]) byId(side).style.transform = move;
  byId("right-layer").style.clipPath = `inset(0 0 0 ${boundary}%)`;
  const handle = byId("boundary");
  handle.style.left = `${boundary}%`;
  handle.setAttribute("aria-valuenow", Math.round(boundary));
  handle.setAttribute("aria-valuetext", `${Math.round(boundary)} % of the width shows the left picture`);
  stage.classList.toggle("zoomed", zoom > 1);
}

function startDrag(event) {
  if (event.button > 0) return;
  const stage = byId("stage");
  const box = stage.getBoundingClientRect();
  const pan = view.zoom > 1 && !byId("boundary").contains(event.target);
  // A finger that moves up or down scrolls the page and must not take the boundary along.
  const mouse = event.pointerType === "mouse";
  const start = { x: event.clientX, y: event.clientY, viewX: view.x, viewY: view.y };
  const move = (moved) => {
    if (pan) {
      view.x = start.viewX - (moved.clientX - start.x) / (box.width * view.zoom);
      view.y = start.viewY - (moved.clientY - start.y) / (box.height * view.zoom);
    } else if (mouse || Math.abs(moved.clientX - start.x) > Math.abs(moved.clientY - start.y)) {
      view.boundary = limit((100 * (moved.clientX - box.left)) / box.width, 0, 100);
    }
    place();
  };
  const stop = () => {
    stage.removeEventListener("pointermove", move);
    stage.classList.remove("dragging");
  };
  stage.setPointerCapture(event.pointerId);
  stage.classList.add("dragging");
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", stop, { once: true });
  stage.addEventListener("pointercancel", stop, { once: true });
  byId(pan ? "stage" : "boundary").focus({ preventScroll: true });
  event.preventDefault();
  if (!pan && mouse) move(event);
}

function boundaryKey(event) {
  const step = event.shiftKey ? 10 : 2;
  const to = {
    ArrowLeft: view.boundary - step,
    ArrowDown: view.boundary - step,
    ArrowRight: view.boundary + step,
    ArrowUp: view.boundary + step,
    PageDown: view.boundary - 10,
    PageUp: view.boundary + 10,
    Home: 0,
    End: 100,
  }[event.key];
  if (to === undefined) return;
  view.boundary = limit(to, 0, 100);
  place();
  event.preventDefault();
  event.stopPropagation();
}

function viewKey(event) {
  const step = 0.1 / view.zoom;
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[
    event.key
  ];
  if (!by || view.zoom === 1) return;
  view.x += by[0];
  view.y += by[1];
  place();
  event.preventDefault();
}

function offerTargets() {
  const image = byId("picture-image").value;
  const kept = byId("picture-target").value;
  const targets = report.pictures
    .filter((entry) => entry.image === image)
    .map((entry) => String(entry.target));
  choices(
    byId("picture-target"),
    targets.map((target) => [target, `${rate(Number(target))} bpp`]),
    targets.includes(kept) ? kept : undefined,
  );
  offerSides();
}

// The chosen codecs stay where the other image or target has them too.
function offerSides() {
  const pictures = picturesOf(comparison());
  const ours = pictures.findIndex((picture) => picture.codec && isOurs(picture.codec));
  const anchor = pictures.findIndex((picture) => picture.codec === report.anchor);
  const other = pictures.findIndex((picture, i) => i !== ours);
  const usual = {
    left: anchor >= 0 ? anchor : other,
    right: ours >= 0 ? ours : Math.min(1, pictures.length - 1),
  };
  for (const side of ["left", "right"]) {
    const select = byId(`picture-${side}`);
    const kept = pictures.findIndex((picture) => picture.name === select.selectedOptions[0]?.textContent);
    choices(
      select,
      pictures.map((picture, i) => [String(i), picture.name]),
      String(kept >= 0 ? kept : usual[side]),
    );
  }
  showPictures();
}

function startSlider() {
  if (!report.pictures.length) {
    byId("comparison").hidden = true;
    document.querySelector('nav a[href="#comparison"]').hidden = true;
    return;
  }
  choices(
    byId("picture-image"),
    [...new Set(report.pictures.map((entry) => entry.image))].map((image) => [image, shortName(image)]),
  );
  byId("picture-image").addEventListener("change", offerTargets);
  byId("picture-target").addEventListener("change", offerSides);
  byId("picture-left").addEventListener("change", showPictures);
  byId("picture-right").addEventListener("change", showPictures);
  byId("swap").addEventListener("click", () => {
    const [left, right] = [byId("picture-left"), byId("picture-right")];
    [left.value, right.value] = [right.value, left.value];
    showPictures();
  });
  for (const radio of document.querySelectorAll("input[name=zoom]")) {
    radio.addEventListener("change", () => {
      view.zoom = Number(radio.value);
      place();
    });
  }
  byId("stage").addEventListener("pointerdown", startDrag);
  byId("boundary").addEventListener("keydown", boundaryKey);
  byId("stage").addEventListener("keydown", viewKey);
  offerTargets();
}
