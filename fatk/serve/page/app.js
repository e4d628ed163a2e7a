// A sound comes in by drop, choice or microphone; its tags come out.

import { canRecord, record, toWav } from "./recording.js";
import { Result } from "./result.js";
import { about, tag } from "./service.js";
import { themeButton } from "./theme.js";
import { clock, megabytes, span } from "./words.js";

const $ = (id) => document.getElementById(id);
const QUERY = { top: 8, windows: true, image: true, waveform: true };

let model = null; // what /v1/about said
let running = null; // the recording under way
let sending = null; // what stops the upload under way

const result = new Result(problem);

function problem(text) {
  $("problem").textContent = text;
}

function busy(text) {
  $("status").textContent = text;
  document.body.classList.toggle("busy", Boolean(text));
}

async function hear(sound) {
  if (!model) return problem("The service does not answer. Is it still running?");
  problem("");
  if (sound.blob.size > model.body_bytes) {
    return problem(`${sound.name} has ${megabytes(sound.blob.size)}; this service takes ${megabytes(model.body_bytes)}.`);
  }
  sending?.abort();
  const mine = (sending = new AbortController());
  busy(`Listening to ${sound.name}, ${megabytes(sound.blob.size)}…`);
  try {
    const [heard, answer] = await answered(sound, mine.signal);
    if (mine !== sending) return;
    document.body.classList.add("heard");
    await result.show(heard, answer, model.signatures.includes("explain"));
    busy("");
  } catch (error) {
    if (mine !== sending || error.name === "AbortError") return;
    busy("");
    problem(`${sound.name}: ${error.message}`);
  }
}

// Where the service cannot read a file that this browser can, it gets a WAV instead.
async function answered(sound, signal) {
  try {
    return [sound, await tag(sound, QUERY, signal)];
  } catch (error) {
    if (error.status !== 415) throw error;
    const wav = await toWav(sound.blob, sound.name).catch(() => null);
    if (!wav) throw error;
    return [wav, await tag(wav, QUERY, signal)];
  }
}

async function toggleRecording() {
  if (running) return running.stop();
  problem("");
  try {
    running = await record(model?.clip_seconds ?? 60, (seconds, level) => {
      $("record-label").textContent = `Stop, ${clock(seconds)}`;
      $("level").firstElementChild.style.transform = `scaleX(${Math.min(1, Math.sqrt(level))})`;
    });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    return problem(denied ? "The browser did not allow the microphone." : `No microphone: ${error.message}`);
  }
  document.body.classList.add("recording");
  $("level").hidden = false;
  try {
    const sound = await running.finished;
    if (sound) hear(sound);
  } catch {
    problem("The recording was empty. Record for a moment longer.");
  } finally {
    running = null;
    document.body.classList.remove("recording");
    $("level").hidden = true;
    $("record-label").textContent = "Record";
  }
}

function wire() {
  themeButton($("theme"), () => result.draw());
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) hear({ blob: file, name: file.name });
    $("file").value = ""; // the same file may be chosen again
  });
  $("record").addEventListener("click", toggleRecording);
  if (!canRecord()) {
    $("record").disabled = true;
    $("record").title = "Recording needs https, or this machine's own address (localhost)";
  }
  let depth = 0; // of elements that a drag has entered
  const dragging = (by) => document.body.classList.toggle("dragging", (depth = Math.max(0, by)) > 0);
  addEventListener("dragenter", (event) => (event.preventDefault(), dragging(depth + 1)));
  addEventListener("dragleave", () => dragging(depth - 1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(0);
    const [file] = event.dataTransfer.files;
    if (file) hear({ blob: file, name: file.name });
    else problem("That was no file.");
  });
  addEventListener("keydown", (event) => {
    if (!result.shown || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code === "Space" && !event.target.closest("button, a, input, summary")) {
      event.preventDefault();
      result.toggle();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      result.step(event.key === "ArrowLeft" ? -1 : 1);
    }
  });
}

wire();
try {
  model = await about();
  $("model").textContent = `${model.classes.length} classes · ${+(model.rate / 1000).toFixed(2)} kHz`;
  $("limits").textContent = ` Up to ${span(model.clip_seconds)} and ${megabytes(model.body_bytes)}; it is sent to this service and not kept.`;
} catch (error) {
  problem(error.message);
}
