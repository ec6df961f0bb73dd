// Requests for data, whoever answers them.

export class RequestError extends Error {}

// A pause, which ends early if it is cut short.
export const pause = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(signal.reason);
  });
});

// Work that is requested more often than it can be done: only the latest request is done, those between are dropped.
export class Latest {
  constructor(work) {
    this.work = work;
    this.waiting = null;
    this.busy = false;
  }

  async ask(...what) {
    this.waiting = what;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.waiting) {
        const now = this.waiting;
        this.waiting = null;
        await this.work(...now);
      }
    } finally {
      this.busy = false;
    }
  }
}
