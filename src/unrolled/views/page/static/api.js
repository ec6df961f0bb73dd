// Calls of the server: JSON, server-sent events, and one call at a time.

export class RequestError extends Error {}

async function send(path, body, signal) {
  let answer;
  try {
    const options = body === undefined ? {} : {
      method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
    };
    answer = await fetch(path, { ...options, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError("the server does not answer; is it still running?");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new RequestError(said.error ?? `the server answered ${answer.status}`);
  }
  return answer;
}

export async function json(path, body) {
  return (await send(path, body)).json();
}

export function endpoint(model, name) {
  return `api/models/${encodeURIComponent(model)}/${name}`;
}

// Yield { name, data } for each server-sent event.
export async function* events(path, body, signal) {
  const answer = await send(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      }));
      yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

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
