// The likeliest classes with bars, and a switch for each that asks why.

import { named, percent } from "./words.js";

// `ask(label or null)` is called when a switch is pressed; without it there are no switches.
export function showTags(list, tags, ask) {
  list.replaceChildren(
    ...tags.map(({ label, probability }) => {
      const item = document.createElement("li");
      item.dataset.label = label;
      const name = document.createElement("span");
      name.className = "label";
      name.textContent = named(label);
      const chance = document.createElement("span");
      chance.textContent = percent(probability);
      const track = document.createElement("div");
      track.className = "track";
      const fill = document.createElement("div");
      fill.className = "fill";
      fill.style.width = `${100 * probability}%`;
      track.append(fill);
      item.append(name, chance);
      if (ask) item.append(whyButton(list, label, ask));
      item.append(track);
      return item;
    }),
  );
}

function whyButton(list, label, ask) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet why";
  button.textContent = "Why?";
  button.setAttribute("aria-label", `Why ${named(label)}?`);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const press = button.getAttribute("aria-pressed") === "false";
    for (const other of list.querySelectorAll(".why")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(press));
    ask(press ? label : null);
  });
  return button;
}
