// Plays the sound, and moves the line that says where.

export class Player {
  // `moved(seconds)` is called as the sound plays or is moved, `changed(playing)` as it starts and stops.
  constructor(moved, changed, failed) {
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.failed = failed;
    this.moved = moved;
    this.audio.addEventListener("play", () => {
      changed(true);
      this.#follow();
    });
    for (const event of ["pause", "ended"]) this.audio.addEventListener(event, () => changed(false));
    this.audio.addEventListener("timeupdate", () => moved(this.audio.currentTime));
    this.audio.addEventListener("seeked", () => moved(this.audio.currentTime));
  }

  load(blob) {
    this.audio.pause();
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.src = URL.createObjectURL(blob);
    this.moved(0);
  }

  seek(seconds) {
    this.audio.currentTime = seconds;
    this.moved(seconds);
  }

  async play() {
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name !== "AbortError") this.failed();
    }
  }

  toggle() {
    if (this.audio.paused) this.play();
    else this.audio.pause();
  }

  #follow() {
    if (this.audio.paused) return;
    this.moved(this.audio.currentTime);
    requestAnimationFrame(() => this.#follow());
  }
}
