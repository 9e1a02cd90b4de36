// A canvas over a picture: what is painted on it is the hole that the model fills.

const byId = (name) => document.getElementById(name);

function brush(canvas, size, changed) {
  const pen = canvas.getContext("2d");
  let last = null;
  let painted = false;
  const say = (now) => {
    painted = now;
    changed();
  };

  // The canvas has the pixels of the picture, however large it is shown.
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  };
  const stroke = (event) => {
    const to = at(event);
    pen.strokeStyle = "#e0218a";
    pen.lineWidth = size();
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(last.x, last.y);
    pen.lineTo(to.x, to.y);
    pen.stroke();
    last = to;
    say(true);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => last && stroke(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));

  return {
    clear(width = canvas.width, height = canvas.height) {
      canvas.width = width;
      canvas.height = height;
      say(false);
    },
    painted: () => painted,
    // White where something was painted, black elsewhere.
    async mask() {
      const copy = new OffscreenCanvas(canvas.width, canvas.height);
      const paint = copy.getContext("2d");
      const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < pixels.data.length; i += 4) {
        pixels.data.fill(pixels.data[i + 3] > 127 ? 255 : 0, i, i + 3);
        pixels.data[i + 3] = 255;
      }
      paint.putImageData(pixels, 0, 0);
      return copy.convertToBlob({ type: "image/png" });
    },
  };
}
