// The service's routes.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service does not answer. Is it still running?");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, sentence(body?.error ?? response.statusText));
  return body;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function form(sound) {
  const made = new FormData();
  made.append("file", sound.blob, sound.name);
  return made;
}

export const about = () => answer("/v1/about");

export const tag = (sound, query, signal) =>
  answer(`/v1/audio?${new URLSearchParams(query)}`, { method: "POST", body: form(sound), signal });

export const explain = (sound, label, signal) =>
  answer(`/v1/explain?${new URLSearchParams({ label })}`, { method: "POST", body: form(sound), signal });

// A PNG in base64 -> its grey values: {width, height, data: Uint8Array}, the highest band first.
export async function pixels(png) {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const data = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < data.length; i++) data[i] = rgba[4 * i];
  return { width: bitmap.width, height: bitmap.height, data };
}
