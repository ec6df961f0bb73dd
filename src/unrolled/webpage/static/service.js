// Who answers the requests of this page: its server.  Where the page is one file, alone/service.js stands in its place,
// with the same exports.

import { pause, RequestError } from "./requests.js";

const BUSY = 429, TRIES = 10;

async function send(path, body, signal) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  };
  let answer;
  for (let tried = 0; tried < TRIES; tried++) { // a busy server says when to try again
    if (tried) await pause(1000 * (Number(answer.headers.get("Retry-After")) || 1), signal);
    try {
      answer = await fetch(path, { ...options, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new RequestError("the server does not answer; is it still running?");
    }
    if (answer.status !== BUSY) break;
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new RequestError(said.error ?? `the server answered ${answer.status}`);
  }
  return answer;
}

const endpoint = (model, name) => `api/models/${encodeURIComponent(model)}/${name}`;

// The models that can be asked about, and the limits of what is asked.
export async function models() {
  return (await send("api/models")).json();
}

// Ask about a model: "view" or "gradients".
export async function ask(model, name, asked) {
  const answer = await (await send(endpoint(model, name), asked)).json();
  if (answer.heat) answer.heat.bytes = Uint8Array.from(atob(answer.heat.data), (c) => c.charCodeAt(0));
  return answer;
}

// Let a model write; yield { name, data }: "piece" after "piece", then "end" or "error".
export async function* generate(model, asked, signal) {
  const answer = await send(endpoint(model, "generate"), asked, signal);
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
