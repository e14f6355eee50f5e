// What the page asks the server for. The page's own address holds the token, so all addresses are relative.

export class Failed extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status; // 0: no answer
  }
}

export const CONFLICT = 409;

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch {
    throw new Failed("The server does not answer. Is `pet review` still running? Start it again and open its new address.");
  }
  let reply;
  try {
    reply = await response.json();
  } catch {
    throw new Failed(`The server answered with status ${response.status}. Load the page again.`);
  }
  if (!response.ok) throw new Failed(reply.error, response.status);
  return reply;
}

export const get = (name, values = {}) => ask(`api/${name}?${new URLSearchParams(values)}`);

export const post = (name, values) =>
  ask(`api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) });
