// Light, dark, or as the system has it; kept for the next visit.

const CHOICES = ["auto", "light", "dark"];
const WORDS = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" };

function stored() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null; // storage may be switched off
  }
}

export function themeButton(button, changed = () => {}) {
  let choice = CHOICES.includes(stored()) ? stored() : "auto";
  const apply = () => {
    if (choice === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    button.textContent = WORDS[choice];
    changed();
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    try {
      localStorage.setItem("theme", choice);
    } catch {
      // then it holds for this page only
    }
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  apply();
}
