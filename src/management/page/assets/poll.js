// Asking again, every few seconds while somebody looks.

const INTERVAL_MS = 5000;

export class Poll {
  // `refresh` is asynchronous; it is never called twice at a time.
  constructor(refresh) {
    this.refresh = refresh;
    this.isPaused = false;
    this.timer = null;
    this.running = null;
    document.addEventListener("visibilitychange", () => this.isWanted() && this.now());
  }

  isWanted() {
    return !this.isPaused && document.visibilityState === "visible";
  }

  // Asks at once; what is already being asked is waited for, and then asked again.
  async now() {
    clearTimeout(this.timer);
    while (this.running) await this.running;
    this.running = this.refresh();
    await this.running;
    this.running = null;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.isWanted() && this.now(), INTERVAL_MS);
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    if (!isPaused) this.now();
  }

  stop() {
    clearTimeout(this.timer);
    this.isPaused = true;
  }
}
