// Drawings along one axis of seconds: waveform, spectrogram, and a row of heat for each class.

import { hertz, named, percent } from "./words.js";

// Levels 0 to 255 of the spectrogram, dark to bright.
const STOPS = [
  [0, 11, 13, 20],
  [60, 36, 27, 88],
  [120, 122, 36, 104],
  [175, 207, 74, 74],
  [220, 243, 150, 68],
  [255, 253, 236, 176],
];
const COLOURS = Array.from({ length: 256 }, (_, level) => {
  const above = Math.max(1, STOPS.findIndex((stop) => stop[0] >= level));
  const [from, to] = [STOPS[above - 1], STOPS[above]];
  const share = (level - from[0]) / (to[0] - from[0]);
  return [1, 2, 3].map((i) => Math.round(from[i] + share * (to[i] - from[i])));
});

// A canvas as sharp as the screen -> its context, to be drawn on in pixels of the page.
function sharp(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { context, width, height, colour: getComputedStyle(canvas).color };
}

export function drawWaveform(canvas, { low, high }) {
  const { context, width, height, colour } = sharp(canvas);
  const peak = Math.max(...high.map(Math.abs), ...low.map(Math.abs), 1e-4);
  const y = (value) => height / 2 - (value / peak) * (height / 2 - 3);
  const x = (i) => ((i + 0.5) / low.length) * width;
  context.fillStyle = colour;
  context.beginPath();
  high.forEach((value, i) => context.lineTo(x(i), y(value) - 0.5));
  for (let i = low.length - 1; i >= 0; i--) context.lineTo(x(i), y(low[i]) + 0.5);
  context.fill();
}

// `overlay`, where given, leaves colour only to what speaks for a class.
export function drawSpectrogram(canvas, image, grey, overlay, seconds) {
  const coloured = new ImageData(grey.width, grey.height);
  for (let row = 0; row < grey.height; row++) {
    for (let column = 0; column < grey.width; column++) {
      const i = row * grey.width + column;
      let share = 1;
      if (overlay) {
        const r = Math.floor((row * overlay.height) / grey.height);
        const c = Math.floor((column * overlay.width) / grey.width);
        share = Math.sqrt(overlay.data[r * overlay.width + c] / 255);
      }
      const colour = COLOURS[grey.data[i]];
      const pale = 24 + 0.4 * grey.data[i];
      for (let k = 0; k < 3; k++) coloured.data[4 * i + k] = share * colour[k] + (1 - share) * pale;
      coloured.data[4 * i + 3] = 255;
    }
  }
  const held = document.createElement("canvas");
  held.width = grey.width;
  held.height = grey.height;
  held.getContext("2d").putImageData(coloured, 0, 0);
  const { context, width, height } = sharp(canvas);
  const perSecond = width / seconds;
  context.imageSmoothingEnabled = grey.width < width;
  context.imageSmoothingQuality = "high";
  context.drawImage(held, image.start * perSecond, 0, (image.end - image.start) * perSecond, height);
}

export function labelHertz(gutter, image) {
  const shares = image.hertz.map((one) => ({ ...one, share: (one.band + 0.5) / image.bands }));
  const kept = [];
  for (const one of shares.reverse()) {
    if (!kept.length || kept.at(-1).share - one.share > 0.075) kept.push(one);
  }
  gutter.replaceChildren(
    ...kept.map((one) => {
      const label = document.createElement("span");
      label.textContent = hertz(one.hertz);
      label.style.bottom = `${100 * Math.min(Math.max(one.share, 0.03), 0.97)}%`;
      return label;
    }),
  );
}

export function labelSeconds(axis, seconds) {
  const most = Math.max(2, Math.floor(axis.getBoundingClientRect().width / 64));
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
  const step = steps.find((one) => seconds / one <= most) ?? 1200;
  const made = [];
  for (let i = 0; i * step <= seconds + 1e-9; i++) {
    const label = document.createElement("span");
    label.textContent = `${+(i * step).toFixed(2)} s`;
    label.style.left = `${(100 * i * step) / seconds}%`;
    if (i && i * step > seconds * 0.97) label.className = "last";
    made.push(label);
  }
  axis.replaceChildren(...made);
}

// Windows overlap: each is drawn from halfway to the one before to halfway to the one after.
export function cells(windows, seconds) {
  const middles = windows.map((one) => (one.start + one.end) / 2);
  const edges = [0, ...middles.slice(1).map((middle, i) => (middle + middles[i]) / 2), seconds];
  return windows.map((_, i) => [edges[i], edges[i + 1]]);
}

// The classes that stand out most anywhere in the sound -> rows [{label, index, canvas}].
export function makeRows(place, answer, count) {
  const peaks = answer.classes.map((label, index) => {
    const best = answer.windows.reduce((a, b) => (b.probabilities[index] > a.probabilities[index] ? b : a));
    return { label, index, peak: best.probabilities[index], at: best };
  });
  const rows = peaks.sort((a, b) => b.peak - a.peak).slice(0, count);
  place.replaceChildren(
    ...rows.map((row) => {
      const lane = document.createElement("div");
      lane.className = "lane";
      const name = document.createElement("span");
      name.className = "gutter";
      name.textContent = named(row.label);
      row.canvas = document.createElement("canvas");
      row.canvas.setAttribute("role", "img");
      row.canvas.setAttribute(
        "aria-label",
        `${named(row.label)}: at most ${percent(row.peak)}, from ${row.at.start} to ${row.at.end} seconds`,
      );
      lane.append(name, row.canvas);
      return lane;
    }),
  );
  return rows;
}

export function drawRow(row, windows, bounds, seconds) {
  const { context, width, height, colour } = sharp(row.canvas);
  context.fillStyle = colour;
  windows.forEach((one, i) => {
    const [left, right] = bounds[i].map((second) => (second / seconds) * width);
    context.globalAlpha = one.probabilities[row.index];
    context.fillRect(left, 0, Math.max(right - left - (right - left > 4 ? 1 : 0), 0.5), height);
  });
}
