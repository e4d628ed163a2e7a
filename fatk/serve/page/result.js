// What was heard: drawings, tags, the chosen window, and playing.

import * as lanes from "./lanes.js";
import { Player } from "./player.js";
import { explain, pixels } from "./service.js";
import { showTags } from "./tags.js";
import { channels, clock, csv, named, percent, span } from "./words.js";

const ROWS = 8;
const $ = (id) => document.getElementById(id);

export class Result {
  #sound; // {blob, name}
  #answer; // of /v1/audio
  #grey; // the spectrogram's values
  #overlay = null; // values of the class that is explained
  #overlays = new Map();
  #asked = null;
  #rows = [];
  #bounds = []; // [from, to] in seconds of each window's cell
  #window = 0;
  #player;

  constructor(problem) {
    this.problem = problem;
    this.#player = new Player(
      (seconds) => this.#moved(seconds),
      (playing) => {
        $("play").classList.toggle("playing", playing);
        $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
      },
      () => problem("This browser cannot play this kind of file. Its tags hold all the same."),
    );
    this.#wire();
  }

  get shown() {
    return Boolean(this.#answer);
  }

  async show(sound, answer, explains) {
    this.#grey = await pixels(answer.image.png);
    [this.#sound, this.#answer] = [sound, answer];
    this.#overlay = this.#asked = null;
    this.#overlays.clear();
    $("why").textContent = "";
    $("why").hidden = !explains;
    $("name").textContent = sound.name;
    const rate = `${+(answer.rate / 1000).toFixed(2)} kHz`;
    $("facts").textContent = [span(answer.seconds), answer.format, rate, channels(answer.channels)].join(" · ");
    if ($("save").href) URL.revokeObjectURL($("save").href);
    $("save").href = URL.createObjectURL(new Blob([csv(answer)], { type: "text/csv" }));
    $("save").download = `${sound.name}.csv`;
    showTags($("tags"), answer.tags, explains ? (label) => this.#explain(label) : null);
    this.#rows = lanes.makeRows($("rows"), answer, ROWS);
    this.#bounds = lanes.cells(answer.windows, answer.seconds);
    $("over").setAttribute("aria-valuemax", answer.windows.length);
    $("waveform").setAttribute("aria-label", `Waveform, ${span(answer.seconds)}`);
    $("result").hidden = false;
    this.#player.load(sound.blob);
    this.draw();
    this.#hover(null);
    this.choose(0, false);
  }

  draw() {
    if (!this.#answer) return;
    const { seconds, image, waveform, windows } = this.#answer;
    lanes.drawWaveform($("waveform"), waveform);
    lanes.labelHertz($("hertz"), image);
    lanes.labelSeconds($("seconds"), seconds);
    for (const row of this.#rows) lanes.drawRow(row, windows, this.#bounds, seconds);
    this.#drawSpectrogram();
  }

  #drawSpectrogram() {
    const { seconds, image } = this.#answer;
    lanes.drawSpectrogram($("spectrogram"), image, this.#grey, this.#overlay, seconds);
    const what = this.#overlay ? `, in colour where it speaks for ${named(this.#asked)}` : "";
    $("spectrogram").setAttribute("aria-label", `Spectrogram over ${span(seconds)}${what}`);
  }

  // Go to a window; `seek`: the sound too.
  choose(index, seek = true) {
    const { windows } = this.#answer;
    this.#window = Math.min(Math.max(index, 0), windows.length - 1);
    const one = windows[this.#window];
    this.#place($("chosen"), one.start, one.end);
    const text = this.#words(one);
    $("readout").textContent = text;
    const over = $("over");
    over.setAttribute("aria-valuenow", this.#window + 1);
    over.setAttribute("aria-valuetext", `Window ${this.#window + 1} of ${windows.length}: ${text}`);
    if (seek) this.#player.seek(one.start);
  }

  toggle() {
    this.#player.toggle();
  }

  step(by) {
    this.choose(this.#window + by);
  }

  playWindow(index = this.#window) {
    this.choose(index);
    this.#player.play();
  }

  #words(one) {
    const best = this.#answer.classes
      .map((label, i) => [label, one.probabilities[i]])
      .sort((a, b) => b[1] - a[1])
      .slice(0, 3);
    const times = `${one.start.toFixed(1)} to ${one.end.toFixed(1)} s`;
    return `${times}: ${best.map(([label, chance]) => `${named(label)} ${percent(chance)}`).join(", ")}`;
  }

  #place(element, from, to) {
    const { seconds } = this.#answer;
    element.style.left = `${(100 * from) / seconds}%`;
    element.style.width = `${(100 * (to - from)) / seconds}%`;
  }

  #moved(at) {
    if (!this.#answer) return;
    const { seconds } = this.#answer;
    $("head").style.left = `${(100 * Math.min(at, seconds)) / seconds}%`;
    $("clock").textContent = `${clock(Math.min(at, seconds))} / ${clock(seconds)}`;
  }

  // The window whose cell lies under the pointer.
  #under(event) {
    const box = $("over").getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * this.#answer.seconds;
    const found = this.#bounds.findIndex(([, to]) => at < to);
    return found < 0 ? this.#bounds.length - 1 : found;
  }

  #hover(index) {
    $("hovered").hidden = index === null;
    const one = this.#answer.windows[index ?? this.#window];
    if (index !== null) this.#place($("hovered"), one.start, one.end);
    $("readout").textContent = this.#words(one);
  }

  async #explain(label) {
    this.#asked = label;
    const sound = this.#sound;
    try {
      if (label && !this.#overlays.has(label)) {
        $("why").textContent = `Asking why ${named(label)}…`;
        this.#overlays.set(label, await pixels((await explain(sound, label)).png));
      }
    } catch (error) {
      this.problem(error.message);
      label = null;
    }
    if (sound !== this.#sound || (label && this.#asked !== label)) return; // asked otherwise by now
    this.#overlay = label ? this.#overlays.get(label) : null;
    $("why").textContent = label ? `Colour is left to what speaks for ${named(label)}.` : "";
    this.#drawSpectrogram();
    if (label) $("spectrogram").scrollIntoView({ block: "nearest" });
  }

  #wire() {
    const over = $("over");
    $("play").addEventListener("click", () => this.toggle());
    over.addEventListener("click", (event) => this.playWindow(this.#under(event)));
    over.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.#hover(this.#under(event)));
    over.addEventListener("pointerleave", () => this.#hover(null));
    new ResizeObserver(() => this.draw()).observe($("lanes"));
    over.addEventListener("keydown", (event) => {
      const { windows } = this.#answer;
      const keys = {
        Home: () => this.choose(0),
        End: () => this.choose(windows.length - 1),
        PageUp: () => this.step(-10),
        PageDown: () => this.step(10),
        ArrowUp: () => this.step(1),
        ArrowDown: () => this.step(-1),
        Enter: () => this.playWindow(),
      };
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
}
