// The figures of the page "What are binary latent diffusion models?". Every <figure data-figure="NAME"> holds a sheet
// of pictures, which is what a reader without scripts sees; here it becomes a small machine with sliders and buttons.
// The numbers are in data.js, which benchmarks/explainer.py writes together with the sheets.
(() => {
  "use strict";
  const data = window.bincodecExplainer;
  const SIDE = 64; // The bits of a clothing picture: 8x8 positions of 8x8 bits.

  // --- pieces -------------------------------------------------------------------------------------------------

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function slider(label, low, high, value, changed, { step = 1, text = String } = {}) {
    const shown = make("output", {}, text(value));
    const input = make("input", { type: "range", min: low, max: high, step, value, "aria-label": label });
    // Screen readers say the value that is shown, and not the place of the slider.
    const say = () => {
      shown.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    say();
    input.addEventListener("input", () => {
      say();
      changed(Number(input.value));
    });
    const element = make("label", { class: "slider" }, make("span", {}, label), input, shown);
    element.set = (next) => {
      input.value = next;
      input.dispatchEvent(new Event("input"));
    };
    element.value = () => Number(input.value);
    return element;
  }

  let choices = 0;
  function choice(label, options, changed) {
    const name = `explainer-choice-${choices++}`;
    const buttons = options.map((option, index) => {
      const input = make("input", { type: "radio", name, value: index, checked: index === 0 });
      input.addEventListener("change", () => changed(index));
      return make("label", {}, input, make("span", {}, option));
    });
    return make("fieldset", { class: "choice" }, make("legend", {}, label), ...buttons);
  }

  // One picture of a sheet of columns x rows.
  function frame(source, columns, rows, alt) {
    const element = make("div", { class: "frame", role: "img", "aria-label": alt });
    element.style.backgroundImage = `url("${source}")`;
    element.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
    element.show = (column, row) => {
      const part = (index, count) => (count > 1 ? (100 * index) / (count - 1) : 0);
      element.style.backgroundPosition = `${part(column, columns)}% ${part(row, rows)}%`;
    };
    element.show(0, 0);
    return element;
  }

  // A canvas of width x height cells; paint(colour) asks for [red, green, blue, alpha] of each cell.
  function cells(width, height, alt) {
    const canvas = make("canvas", { width, height, role: "img", "aria-label": alt });
    const context = canvas.getContext("2d");
    canvas.paint = (colour) => {
      const image = context.createImageData(width, height);
      for (let index = 0; index < width * height; index++) image.data.set(colour(index), 4 * index);
      context.putImageData(image, 0, 0);
    };
    return canvas;
  }

  function panel(title, ...children) {
    return make("div", { class: "panel" }, make("p", { class: "title" }, title), ...children);
  }

  const panels = (...children) => make("div", { class: "panels" }, ...children);
  const controls = (...children) => make("div", { class: "controls" }, ...children);
  const reading = () => make("p", { class: "reading", "aria-live": "polite" });

  // A button that moves a slider from its beginning to its end.
  function player(moved, last) {
    let timer = 0;
    const button = make("button", { type: "button" }, "Play");
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
    };
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (moved.value() === last) moved.set(0);
      button.textContent = "Stop";
      timer = setInterval(() => {
        moved.set(moved.value() + 1);
        if (moved.value() === last) stop();
      }, 350);
    });
    return button;
  }

  function bytesOf(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  function bitsOf(text) {
    const bytes = bytesOf(text);
    return Uint8Array.from({ length: 8 * bytes.length }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
  }

  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const count = (value) => value.toLocaleString("en");

  const DARK = [38, 50, 56, 255];
  const LIGHT = [207, 216, 220, 255];
  const FLIPPED = [[191, 54, 12, 255], [255, 138, 101, 255]];

  // From dark blue over red to yellow.
  const STOPS = [[13, 8, 60], [120, 28, 109], [237, 105, 37], [252, 255, 164]];
  function heat(value) {
    const place = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
    const first = Math.min(Math.floor(place), STOPS.length - 2);
    const mix = (i) => STOPS[first][i] + (place - first) * (STOPS[first + 1][i] - STOPS[first][i]);
    return [mix(0), mix(1), mix(2), 255];
  }

  function scale(low, high) {
    return make("p", { class: "scale" }, make("span", {}, low), make("i"), make("span", {}, high));
  }

  // A generator of uniform numbers from a seed (mulberry32), so that noise stays the same while a slider moves.
  function uniform(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  // --- figures ------------------------------------------------------------------------------------------------

  function random(source) {
    const number = data.random.count;
    const picture = frame(source, 8, (2 * number) / 8, "a random picture");
    const noise = cells(128, 128, "a picture of random pixels");
    const text = reading();
    const facts = [
      "Every pixel is drawn by itself. There are about 10 to the power of 118,370 pictures of this size.",
      "Every bit of a code is tossed like a coin, and the decoder shows the code. There are about 10 to the power of 1,233 codes.",
      "The same decoder, but the bits are drawn together, by the prior.",
    ];
    let kind = 0;
    const drawn = [0, 0, 0];
    const draw = () => {
      const index = drawn[kind]++ % number;
      if (kind === 0) noise.paint(() => [256 * Math.random(), 256 * Math.random(), 256 * Math.random(), 255]);
      else picture.show(index % 8, Math.floor(index / 8) + ((kind - 1) * number) / 8);
      noise.hidden = kind !== 0;
      picture.hidden = kind === 0;
      text.textContent = `${facts[kind]} Drawn so far: ${count(drawn[kind])}.`;
    };
    draw();
    const kinds = choice("What is random", ["pixels", "bits, by fair coins", "bits, by the prior"], (index) => {
      kind = index;
      draw();
    });
    return [controls(kinds, make("button", { type: "button", onclick: draw }, "Draw another")), panels(panel("the picture", noise, picture)), text];
  }

  function gaussian() {
    const { side, pixels } = data.gaussian;
    const clean = bytesOf(pixels);
    const next = uniform(3);
    const noise = Float32Array.from(clean, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
    const canvas = cells(side, side, "a photo with Gaussian noise");
    const text = reading();
    const show = (share) => {
      const [signal, rest] = [Math.sqrt(share), Math.sqrt(1 - share)];
      const value = (i) => 127.5 * (1 + signal * (clean[i] / 127.5 - 1) + rest * noise[i]);
      canvas.paint((i) => [value(3 * i), value(3 * i + 1), value(3 * i + 2), 255]);
      text.textContent = `The picture counts ${signal.toFixed(2)} times, the noise ${rest.toFixed(2)} times.`;
    };
    show(1);
    const moved = slider("noise", 0, 100, 0, (value) => show(1 - value / 100), { text: (value) => `${value} %` });
    return [controls(moved), panels(panel("pixels with noise", canvas)), text];
  }

  // What the forward and the reverse figure share: a picture, its bits, a slider over the steps.
  function steps(source, facts, label, read, more = []) {
    const last = facts.keeps.length - 1;
    const bits = facts.bits.map((states) => states.map(bitsOf));
    const picture = frame(source, last + 1, bits.length, "the decoded picture");
    const map = cells(SIDE, SIDE, "the bits");
    const text = reading();
    let row = 0;
    const show = () => {
      const step = moved.value();
      picture.show(step, row);
      read({ row, step, bits: bits[row], map, text });
    };
    const moved = slider(label, 0, last, 0, show);
    const names = choice("picture", facts.labels, (index) => {
      row = index;
      show();
    });
    const shown = [
      controls(names, moved, player(moved, last)),
      panels(panel("decoded", picture), panel("bits", map), ...more),
      text,
    ];
    show();
    return shown;
  }

  function differing(first, second) {
    return first.reduce((sum, bit, i) => sum + (bit === second[i] ? 0 : 1), 0);
  }

  function forward(source) {
    const facts = data.forward;
    return steps(source, facts, "step t", ({ step, bits, map, text }) => {
      const [own, now] = [bits[0], bits[step]];
      map.paint((i) => (own[i] === now[i] ? (now[i] ? LIGHT : DARK) : FLIPPED[now[i]]));
      const keep = facts.keeps[step] / 64;
      text.textContent =
        `k = ${keep.toFixed(3)}: a bit is flipped with probability (1 - k) / 2 = ${percent((1 - keep) / 2)}. ` +
        `Here ${count(differing(own, now))} of ${count(own.length)} bits are (red).`;
    });
  }

  function reverse(source) {
    const facts = data.reverse;
    const flips = facts.flips.map((states) => states.map((text) => Array.from(text, (c) => facts.digits.indexOf(c) / 63)));
    const map = cells(SIDE, SIDE, "the probability that each bit is flipped");
    const more = [panel("probability of a flip", map, scale("0", "1"))];
    return steps(
      source,
      facts,
      "step",
      ({ row, step, bits, map: own, text }) => {
        own.paint((i) => (bits[step][i] ? LIGHT : DARK));
        map.paint((i) => heat(flips[row][step][i]));
        const expected = flips[row][step].reduce((sum, value) => sum + value, 0);
        text.textContent =
          `k = ${(facts.keeps[step] / 64).toFixed(3)}. The prior expects about ${count(Math.round(expected))} of ` +
          `${count(bits[step].length)} bits to be flipped; ${count(differing(bits[step], bits.at(-1)))} are not yet what they will be.`;
      },
      more,
    );
  }

  function schedules() {
    const names = Object.keys(data.schedules);
    const last = data.schedules[names[0]].length - 1;
    const [width, height] = [320, 200];
    const line = (values) => values.map((k, i) => `${((width * i) / last).toFixed(1)},${(height * (1 - k)).toFixed(1)}`).join(" ");
    const namespace = "http://www.w3.org/2000/svg";
    const draw = (tag, attributes) => {
      const element = document.createElementNS(namespace, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      return element;
    };
    const picture = draw("svg", { viewBox: `-4 -4 ${width + 8} ${height + 8}`, role: "img", "aria-label": "three curves that fall from 1 to 0" });
    picture.append(draw("rect", { class: "axes", width, height }));
    names.forEach((name, i) => picture.append(draw("polyline", { class: `curve-${i}`, points: line(data.schedules[name]) })));
    const mark = draw("line", { class: "mark", y1: 0, y2: height });
    picture.append(mark);
    const text = reading();
    const show = (step) => {
      mark.setAttribute("x1", (width * step) / last);
      mark.setAttribute("x2", (width * step) / last);
      text.textContent = "k: " + names.map((name) => `${name} ${data.schedules[name][step].toFixed(3)}`).join(", ");
    };
    const key = make("p", { class: "key" }, ...names.map((name, i) => make("span", { class: `curve-${i}` }, name)));
    const moved = slider("time t / T", 0, last, 16, show, { text: (value) => (value / last).toFixed(2) });
    show(16);
    return [controls(moved), panels(panel("k, from 1 to 0", picture, key)), text];
  }

  // The reverse step of one bit. `cavity` is what all other bits say of z_0 = 1.
  function posterior(cavity, observed, keepS, keepT) {
    const ratio = keepS > 0 ? keepT / keepS : 0;
    const likelihood = (keep, value) => (value === observed ? (1 + keep) / 2 : (1 - keep) / 2);
    const product = (p) => {
      const one = (keepS * p + (1 - keepS) / 2) * likelihood(ratio, 1);
      const zero = (1 - keepS * p - (1 - keepS) / 2) * likelihood(ratio, 0);
      return one / (one + zero);
    };
    const ones = cavity * likelihood(keepT, 1);
    const calibrated = ones / (ones + (1 - cavity) * likelihood(keepT, 0));
    const mixture = calibrated * product(1) + (1 - calibrated) * product(0);
    return { calibrated, product: product(cavity), mixture, wrong: product(calibrated) };
  }

  function reverseStep() {
    const rows = [
      ["calibrated", "p(z₀ = 1), with the bit's own evidence"],
      ["product", "p(zₛ = 1), product with the cavity"],
      ["mixture", "p(zₛ = 1), mixture with the calibrated p"],
      ["wrong", "crosswise: product with the calibrated p"],
    ];
    const bars = rows.map(([, label]) => make("meter", { min: 0, max: 1, "aria-label": label }));
    const values = rows.map(() => make("output"));
    let observed = 1;
    const show = () => {
      const keepS = early.value() / 100;
      const found = posterior(cavity.value() / 100, observed, keepS, keepS * (left.value() / 100));
      rows.forEach(([name], i) => {
        bars[i].value = found[name];
        values[i].textContent = found[name].toFixed(4);
      });
    };
    const share = { text: (value) => (value / 100).toFixed(2) };
    const cavity = slider("the others say: p", 1, 99, 30, show, share);
    const early = slider("k at s", 1, 100, 60, show, share);
    const left = slider("of that left at t", 0, 99, 50, show, share);
    const bit = choice("the noisy bit", ["zₜ = 1", "zₜ = 0"], (index) => {
      observed = 1 - index;
      show();
    });
    const table = make("div", { class: "bars" }, ...rows.flatMap(([, title], i) => [make("span", {}, title), bars[i], values[i]]));
    show();
    return [controls(bit, cavity, early, left), table];
  }

  function guidance(source) {
    const { labels, weights } = data.guidance;
    const pictures = [0, 1, 2, 3].map((i) => frame(source, 4, labels.length * weights.length, `picture ${i + 1}`));
    let label = 0;
    const show = () => pictures.forEach((one, i) => one.show(i, label * weights.length + moved.value()));
    const moved = slider("guidance w", 0, weights.length - 1, 1, show, { text: (value) => String(weights[value]) });
    const names = choice("class", labels, (index) => {
      label = index;
      show();
    });
    show();
    return [controls(names, moved), make("div", { class: "panels row" }, ...pictures)];
  }

  function layers(source) {
    const facts = data.layers.layers;
    const picture = frame(source, facts.length, 2, "the photo, as far as it has arrived");
    picture.classList.add("photo");
    picture.style.aspectRatio = "451 / 300";
    const text = reading();
    let row = 0;
    const show = () => {
      const layer = moved.value();
      picture.show(layer - 1, row);
      const { bytes, psnr } = facts[layer - 1];
      const quality = row === 0 || layer === facts.length ? `, ${psnr.toFixed(1)} dB` : "";
      text.textContent = `${layer} of ${facts.length} layers: ${count(bytes)} bytes${quality}.`;
    };
    const moved = slider("layers", 1, facts.length, 1, show);
    const kinds = choice("the missing layers are", ["expected", "drawn"], (index) => {
      row = index;
      show();
    });
    show();
    return [controls(kinds, moved), panels(make("div", { class: "panel wide" }, picture)), text];
  }

  function bits() {
    const { photos } = data.bits;
    const picture = make("img", { alt: "a photo", class: "grey" });
    const place = make("div", { class: "overlaid" }, picture);
    const text = reading();
    const legend = make("div");
    let [photo, layer] = [0, 0];
    const show = () => {
      const { name, size, grid, bytes, tenths } = photos[photo];
      const chosen = layer === 0 ? tenths : [tenths[layer - 1]];
      const values = chosen[0].map((_, i) => chosen.reduce((sum, one) => sum + one[i], 0) / 10);
      const sum = values.reduce((a, b) => a + b, 0);
      // A layer may cost nothing anywhere.
      const top = Math.max(...values, 0.1);
      picture.src = `explainer/bits-${name}.webp`;
      picture.alt = name;
      place.style.aspectRatio = `${size[0]} / ${size[1]}`;
      const canvas = cells(grid[0], grid[1], "bits by position");
      // The last positions of a row or column reach beyond the picture.
      canvas.style.width = `${(1600 * grid[0]) / size[0]}%`;
      canvas.style.height = `${(1600 * grid[1]) / size[1]}%`;
      canvas.paint((i) => [...heat(values[i] / top).slice(0, 3), 215]);
      const of = layer === 0 ? "all layers" : `layer ${layer}`;
      const whole = `${name}, ${of}: ${count(Math.round(sum / 8))} of the file's ${count(bytes)} bytes.`;
      text.textContent = whole;
      canvas.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [
          Math.floor(((event.clientX - box.left) * grid[0]) / box.width),
          Math.floor(((event.clientY - box.top) * grid[1]) / box.height),
        ];
        const found = values[y * grid[0] + x];
        if (found !== undefined) text.textContent = `${whole} The 16x16 pixels here: ${found.toFixed(1)} bits.`;
      });
      place.replaceChildren(picture, canvas);
      legend.replaceChildren(scale("0 bits", `${top.toFixed(1)} bits`));
    };
    const names = choice("photo", photos.map((one) => one.name), (index) => {
      photo = index;
      show();
    });
    const layers = choice("layer", ["all", ...photos[0].tenths.map((_, i) => String(i + 1))], (index) => {
      layer = index;
      show();
    });
    show();
    return [controls(names, layers), panels(make("div", { class: "panel wide" }, place, legend)), text];
  }

  const FIGURES = { random, gaussian, forward, reverse, schedules, posterior: reverseStep, guidance, layers, bits };

  window.bincodecPosterior = posterior;
  for (const figure of document.querySelectorAll("figure[data-figure]")) {
    const still = figure.querySelector("img");
    const parts = FIGURES[figure.dataset.figure](still?.getAttribute("src"));
    figure.classList.add("live");
    still?.remove();
    figure.prepend(...parts);
  }
})();
