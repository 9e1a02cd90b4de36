// What the page asks for, and where the answers stand.

const state = { photo: null, setup: null, right: "bincodec", shown: {}, failed: new Set(), turn: 0, told: 0 };
state.opening = state.filling = 0;

// Thrown where the answer belongs to a photo or a setting that is no longer the last one.
const STALE = Symbol("stale");

async function ask(path, body) {
  const answer = await fetch(path, body === undefined ? {} : { method: "POST", body });
  const content = await answer.json().catch(() => ({ error: `the server answers ${answer.status}` }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

// One error at a time stands above everything. Only what was asked after it takes it away.
async function told(work) {
  const own = ++state.told;
  try {
    await work();
    if (own === state.told) byId("alert").hidden = true;
  } catch (error) {
    if (error === STALE) return;
    state.told += 1;
    byId("alert").textContent = error.message;
    byId("alert").hidden = false;
  }
}

const decibels = (psnr) => (psnr === null ? "∞" : psnr.toFixed(2));

function factsOf(answer) {
  return [
    String(answer.setting),
    String(answer.bytes),
    answer.bits_per_pixel.toFixed(3),
    decibels(answer.psnr),
  ];
}

function fillRow(name, values) {
  const row = byId(`row-${name}`);
  [...row.cells].slice(1).forEach((cell, i) => (cell.textContent = values[i]));
}

function showRight() {
  const answer = state.shown[state.right];
  byId("result").classList.toggle("busy", !answer);
  if (state.failed.has(state.right)) byId("facts").textContent = `${state.right}: not available`;
  if (!answer) return;
  byId("result").src = answer.picture;
  const ours = state.right === "bincodec";
  byId("heat").hidden = !(ours && byId("heat-shown").checked);
  if (ours) byId("heat").src = answer.heat;
  const [setting, bytes, rate, psnr] = factsOf(answer);
  const invented = answer.realism ? `, ${answer.realism} % invented detail` : "";
  byId("facts").textContent =
    `${state.right}, setting ${setting}: ${bytes} bytes, ${rate} bits per pixel, PSNR ${psnr} dB${invented}`;
}

// Answers to a question that was asked before the last one are dropped.
async function show(codecs) {
  const turn = ++state.turn;
  const { photo } = state;
  const quality = byId("quality").value;
  const [layers, realism] = [byId("layers").value, byId("realism").value];
  const query = new URLSearchParams({ quality, layers, realism });
  const isOld = () => turn !== state.turn;
  byId("facts").classList.add("busy");
  const keep = (name, answer) => {
    if (isOld()) return;
    state.shown[name] = answer;
    fillRow(name, factsOf(answer));
    if (name === state.right) showRight();
  };
  const errors = [];
  try {
    keep("bincodec", await ask(`compressed/${photo.id}?${query}`));
  } catch (error) {
    errors.push(error);
  }
  if (isOld()) throw STALE;
  byId("facts").classList.remove("busy");
  for (const name of codecs) {
    try {
      keep(name, await ask(`beside/${photo.id}/${name}?quality=${quality}`));
    } catch (error) {
      errors.push(error);
      if (!isOld()) fail(name);
    }
    if (isOld()) throw STALE;
  }
  if (errors.length) throw errors[0];
}

function fail(name) {
  state.failed.add(name);
  fillRow(name, ["not available", "", "", ""]);
  if (name === state.right) showRight();
}

const showAll = () => {
  for (const name of state.setup.beside) {
    delete state.shown[name];
    fillRow(name, ["…", "", "", ""]);
  }
  state.failed.clear();
  showRight();
  return told(() => show(state.setup.beside));
};
const missing = () => state.setup.beside.filter((name) => !state.shown[name] && !state.failed.has(name));

async function open(file) {
  const turn = ++state.opening;
  const photo = await ask("picture", file).catch((error) => {
    throw turn === state.opening ? error : STALE;
  });
  if (turn !== state.opening) throw STALE;
  state.photo = photo;
  state.shown = {};
  for (const name of ["original", "holed"]) byId(name).src = photo.picture;
  for (const name of ["coded", "inpaint"]) byId(name).hidden = false;
  byId("filled").hidden = true;
  painting.clear(photo.width, photo.height);
  await showAll();
}

const painting = brush(
  byId("mask"),
  () => Number(byId("brush").value),
  () => offerFill(),
);

const offerFill = () => (byId("fill").disabled = state.filling > 0 || !painting.painted());

async function fill() {
  const { photo } = state;
  const query = `quality=${byId("quality").value}&seed=${byId("fill-seed").value}`;
  state.filling += 1;
  offerFill();
  try {
    const answer = await ask(`filled/${photo.id}?${query}`, await painting.mask());
    if (photo !== state.photo) throw STALE;
    byId("filled").src = answer.picture;
    byId("filled").hidden = false;
  } catch (error) {
    throw photo === state.photo ? error : STALE;
  } finally {
    state.filling -= 1;
    offerFill();
  }
}

async function draw() {
  const [label, seed] = [byId("class").value, byId("draw-seed").value];
  const query = new URLSearchParams({ class: label, seed, quality: byId("quality").value });
  byId("draw").disabled = true;
  try {
    const image = new Image();
    image.src = (await ask(`drawn?${query}`)).picture;
    image.alt = `${label || "a picture"}, seed ${seed}`;
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = image.alt;
    figure.append(image, caption);
    byId("drawings").prepend(figure);
    byId("draw-seed").value = Number(seed) + 1;
  } finally {
    byId("draw").disabled = false;
  }
}

function offer(setup) {
  state.setup = setup;
  byId("layers").max = byId("layers").value = setup.layers;
  byId("quality").value = setup.quality;
  byId("realism-choice").hidden = !setup.realism;
  byId("artist").textContent = setup.artist;
  for (const name of setup.classes.length ? setup.classes : [""]) byId("class").add(new Option(name));
  for (const name of ["bincodec", ...setup.beside]) {
    const row = byId("beside").tBodies[0].insertRow();
    row.id = `row-${name}`;
    for (const text of [name, "", "", "", ""]) row.insertCell().textContent = text;
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "right", value: name });
    radio.autocomplete = "off";
    radio.checked = name === state.right;
    radio.addEventListener("change", () => {
      state.right = name;
      showRight();
    });
    label.append(radio, name);
    byId("right-choice").append(label);
  }
}

// A slider that is moved by keys changes at every step; only where it comes to rest is asked about.
function atRest(work) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, 250);
  };
}

function listen() {
  const follow = (name) => {
    const write = () => (byId(`${name}-value`).textContent = byId(name).value);
    byId(name).addEventListener("input", write);
    write();
  };
  ["quality", "layers", "realism", "brush"].forEach(follow);
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) told(() => open(file));
  });
  // Otherwise, choosing the same file again would not be a change.
  byId("file").addEventListener("click", (event) => (event.target.value = ""));
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      if (kind === "dragleave" && drop.contains(event.relatedTarget)) return;
      drop.classList.toggle("dragging", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) told(() => open(event.dataTransfer.files[0]));
    });
  }
  byId("quality").addEventListener("change", atRest(showAll));
  const again = atRest(() => told(() => show(missing())));
  for (const name of ["layers", "realism"]) byId(name).addEventListener("change", again);
  byId("heat-shown").addEventListener("change", showRight);
  byId("boundary").addEventListener("input", (event) => {
    byId("stage").style.setProperty("--boundary", `${event.target.value}%`);
  });
  byId("fill").addEventListener("click", () => told(fill));
  byId("clear").addEventListener("click", () => painting.clear());
  byId("draw").addEventListener("click", () => told(draw));
}

told(async () => {
  offer(await ask("setup"));
  listen();
});
