// Numbers and names as people read them.

export const named = (label) => label.replaceAll("_", " ");

export function percent(chance) {
  if (chance > 0 && chance < 0.01) return "<1 %";
  return `${Math.min(Math.round(100 * chance), chance < 1 ? 99 : 100)} %`;
}

export const hertz = (value) => (value >= 1000 ? `${value / 1000} kHz` : `${value} Hz`);

export function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  const rest = (tenths % 600) / 10;
  return `${Math.floor(tenths / 600)}:${rest < 10 ? "0" : ""}${rest.toFixed(1)}`;
}

export function megabytes(bytes) {
  return bytes < 1e5 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${+(bytes / 1e6).toFixed(1)} MB`;
}

export function span(seconds) {
  return seconds < 90 ? `${+seconds.toFixed(1)} s` : `${+(seconds / 60).toFixed(1)} min`;
}

const channelWords = { 1: "mono", 2: "stereo" };
export const channels = (count) => channelWords[count] ?? `${count} channels`;

// The scores of all windows as a table.
export function csv(answer) {
  const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = [["start", "end", ...answer.classes.map(cell)]];
  for (const one of answer.windows) rows.push([one.start, one.end, ...one.probabilities]);
  return rows.map((row) => row.join(",") + "\n").join("");
}
