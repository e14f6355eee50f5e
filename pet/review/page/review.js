// Go through texts, one after another, and save each decision before the next text is shown.

import { CONFLICT, get, post } from "./api.js";
import { byId, make, number, show, texts } from "./dom.js";
import { openSimilar, setUpSimilar } from "./similar.js";
import {
  MOST_WITH_KEYS, chosenLabels, findLabel, labelKeys, labelNames, showChosen, showDecision, showEvidence, showLabels, showProgress, showSave, showText,
  verdictText,
} from "./view.js";

const PAGE = 10; // texts that are loaded at a time
const AHEAD = 4; // texts that are loaded before they are needed
const POLL = 4000; // milliseconds
const TYPING = 300; // milliseconds after the last letter of a search

const app = {
  about: null,
  items: [], // texts that were loaded, in the order in which they are shown
  index: 0,
  next: 0, // where the server goes on; null at the end
  revision: 0,
  began: 0, // the last line when the page was loaded
  mine: [], // what this tab has decided: [{ row, line }, ...] for each action, with the line of the decision
  notes: new Map(), // row -> note that is not saved yet
  queue: Promise.resolve(),
  view: 0, // grows when the filter changes
  shown: "", // the filter of the texts that were loaded
  typing: 0, // timer of a search that is being typed
};

const current = () => app.items[app.index];

// Run one action after another, so that a key always acts on the text that is then shown.
function enqueue(action) {
  app.queue = app.queue.then(action).then(
    () => show(byId("alert"), ""),
    (error) => {
      if (!error.message) throw error;
      show(byId("alert"), error.message);
    },
  );
  return app.queue;
}

function say(text) {
  byId("said").textContent = text;
}

// ---- what the server says ----

// Return a sentence about what others have decided, if they have.
function take(state, own = []) {
  app.revision = state.revision;
  app.left = state.counts.left;
  let others = 0;
  for (const change of state.changed) {
    const item = app.items.find((one) => one.row === change.row);
    if (item) Object.assign(item, change);
    if (!own.includes(change.row)) others += 1;
  }
  showProgress(app.about, state);
  return others ? `Another tab or program has decided about ${texts(others)}.` : "";
}

const tell = (...sentences) => show(byId("notice"), sentences.filter(Boolean).join(" "));

async function poll() {
  if (!document.hidden && app.about) {
    try {
      const state = await get("state", { after: app.revision });
      const row = current()?.row;
      if (state.revision > app.revision) {
        const others = take(state);
        if (others) tell(others);
        if (state.changed.some((change) => change.row === row)) render();
      }
      if (byId("alert").dataset.offline) {
        show(byId("alert"), "");
        delete byId("alert").dataset.offline;
      }
    } catch (error) {
      show(byId("alert"), error.message);
      byId("alert").dataset.offline = "yes";
    }
  }
  setTimeout(() => enqueuePoll(), POLL);
}

const enqueuePoll = () => (app.queue = app.queue.then(poll, poll));

// ---- which text is shown ----

function filterValues() {
  return { state: byId("state").value, label: byId("label").value, search: byId("search").value.trim() };
}

async function more() {
  const view = app.view;
  const reply = await get("texts", { ...filterValues(), start: app.next, count: PAGE });
  if (view !== app.view) return;
  app.next = reply.next;
  app.total = reply.total;
  const known = new Set(app.items.map((item) => item.row));
  app.items.push(...reply.items.filter((item) => !known.has(item.row)));
}

async function restart() {
  app.view += 1;
  const filter = JSON.stringify(filterValues());
  Object.assign(app, { items: [], index: 0, next: 0, shown: "" });
  await more();
  app.shown = filter;
  render();
}

// Start again if the filter has changed since the texts were loaded.
async function refilter() {
  if (JSON.stringify(filterValues()) !== app.shown) await restart();
}

async function forward() {
  const before = app.index;
  if (current()) current().visited = true;
  try {
    do {
      app.index += 1;
      while (app.index >= app.items.length && app.next !== null) await more(); // all of them may be known already
    } while (isPassed(current()));
  } catch (error) {
    app.index = before;
    throw error;
  }
  app.index = Math.min(app.index, app.items.length);
  render(true);
  if (app.items.length - app.index < AHEAD && app.next !== null) enqueue(more);
}

// Texts that were decided elsewhere, or with others, are passed over.
const isPassed = (item) => item && item.decision && !item.visited && byId("state").value === "to_do";

function back() {
  if (app.index > 0) app.index -= 1;
  while (app.index > 0 && isPassed(current())) app.index -= 1;
  render(true);
}

function render(moved = false) {
  const item = current();
  for (const id of ["deciding", "evidence"]) byId(id).hidden = !item;
  byId("back").disabled = app.index === 0;
  byId("similar").disabled = !item;
  if (!item) {
    renderEnd();
  } else {
    showText(item, title());
    showLabels(app.about, item, (label) => enqueue(() => choose(label)));
    showSave(app.about, item);
    showDecision(app.about, item);
    showEvidence(app.about, item);
    byId("note").value = app.notes.get(item.row) ?? item.decision?.note ?? "";
  }
  if (moved) {
    const title = byId("text-title");
    title.focus({ preventScroll: true });
    if (title.getBoundingClientRect().top < 0) title.scrollIntoView();
  }
}

const isFiltered = () => Object.entries(filterValues()).some(([name, value]) => value !== (name === "state" ? "to_do" : ""));

function title() {
  const place = `Text ${number(app.index + 1)}`;
  return isFiltered() ? `${place} of ${number(Math.max(app.total, app.items.length))}` : `${place} (${number(app.left)} to do)`;
}

function renderEnd() {
  const title = isFiltered() ? "No more texts of this kind" : app.left ? "No more texts" : "All texts are decided";
  byId("text-title").textContent = title;
  const button = (text, action) => make("button", { type: "button", onclick: () => enqueue(action) }, text);
  const left = app.left ? `${texts(app.left)} still to do. ` : "";
  byId("text").replaceChildren(
    make("p", {}, `${left}Choose above which texts to show.`),
    make("p", { class: "row" }, app.index > 0 ? button("Back", back) : null, app.left ? button("Start from the first one", restart) : null),
  );
  byId("decision").hidden = true;
}

// ---- decisions ----

// A label was chosen: the decision, or one of several labels to switch on or off.
function choose(label) {
  const item = current();
  if (!item) return undefined;
  if (!app.about.several) return decide("labeled", [label]);
  const chosen = chosenLabels(app.about, item);
  item.draft = chosen.includes(label) ? chosen.filter((one) => one !== label) : [...chosen, label].sort((a, b) => a - b);
  showChosen(app.about, item);
  say(`Chosen: ${labelNames(app.about, item.draft)}.`);
  return undefined;
}

// Save the proposed label, or the labels that are switched on.
function save() {
  const item = current();
  if (!item) return undefined;
  const labels = app.about.several ? chosenLabels(app.about, item) : item.proposed;
  return labels.length ? decide("labeled", labels) : decide("none_of_these");
}

// The note to save: what was typed, or the note of the decision before, of which the input may show less, such as one line.
const noteOf = (item) => app.notes.get(item.row)?.trim() ?? item.decision?.note ?? "";

async function decide(verdict, labels = []) {
  const item = current();
  if (!item) return;
  const note = noteOf(item);
  const reply = await post("decide", { rows: [item.row], lines: [item.line], verdict, labels, note, after: app.revision });
  app.notes.delete(item.row);
  delete item.draft;
  remember(reply, [item.row]);
  say(`${verdictText(app.about, item.decision)}.`);
  await forward();
}

// Note what to undo, and tell about decisions of others that this one replaced.
function remember(reply, rows, done = "") {
  const others = take(reply, rows);
  app.mine.push(rows.map((row, place) => ({ row, line: reply.made[place] })));
  tell(done, replacedText(reply.replaced, rows.length), others);
}

function replacedText(replaced, count) {
  if (!replaced.length) return "";
  if (replaced.length > 1) return `${texts(replaced.length)} were decided elsewhere; your decision replaces that. Undo brings it back.`;
  const [{ labels, verdict }] = replaced;
  const before = labels.join(", ") || verdict || "taken back";
  const which = count === 1 ? "That text" : "One of them";
  return `${which} was “${before}” in another tab or program; your decision replaces it. Undo brings it back.`;
}

// Take back what this tab has decided; after that, what was decided before the page was loaded, but never what others have
// decided since.
async function undo() {
  const action = app.mine[app.mine.length - 1] ?? [];
  const rows = action.map((one) => one.row);
  const lines = action.map((one) => one.line);
  let reply;
  try {
    reply = await post("undo", { rows, lines, last: app.began, after: app.revision });
  } catch (error) {
    if (error.status === CONFLICT) app.mine.pop();
    throw error;
  }
  app.mine.pop();
  const others = take(reply, reply.rows);
  if (!reply.rows.length) {
    say("Nothing to undo.");
    tell("There is nothing to undo.", others);
    return;
  }
  const kept = rows.length - reply.rows.length;
  tell(kept > 0 ? `Somebody else has decided about ${texts(kept)} since; that is kept.` : "", others);
  goTo(reply.items[0]);
  say(`Undone: ${texts(reply.rows.length)}.`);
}

function goTo(item) {
  const place = app.items.findIndex((one) => one.row === item.row);
  if (place < 0) app.items.splice(app.index, 0, item);
  else app.index = place;
  Object.assign(current(), item, { visited: true, draft: undefined });
  render(true);
}

// Save the same labels for a text and those similar to it. The note that was typed is about that text alone.
async function acceptSimilar(item, rows, lines, labels) {
  const others_note = "accepted with similar texts";
  const note = noteOf(item) || others_note;
  const verdict = labels.length ? "labeled" : "none_of_these";
  const reply = await post("decide", { rows, lines, verdict, labels, note, others_note, after: app.revision });
  app.notes.delete(item.row);
  delete item.draft;
  const text = `${texts(rows.length)} labeled ${labelNames(app.about, labels)}.`;
  remember(reply, rows, `${text} Undo takes all of them back.`);
  say(text);
  await forward();
}

// ---- keys ----

const COMMANDS = {
  n: () => decide("none_of_these"),
  q: () => decide("unsure"),
  s: () => decide("skipped"),
  u: undo,
  ArrowRight: forward,
  ArrowLeft: back,
  Enter: save,
};
const MOVES = {
  m: () => byId("note").focus(),
  f: () => byId("search").focus(),
  "/": findLabel,
  b: () => current() && openSimilar(app.about, current()),
  "?": () => byId("help-dialog").showModal(),
};

function onKey(event) {
  const target = event.target;
  if (event.key === "Escape" && target.matches("input, select")) target.blur();
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (target.matches("input, select, textarea") || document.querySelector("dialog[open]") || !byId("shortcuts").checked) return;
  if (event.key === "Enter" && target.matches("button, a")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (Object.hasOwn(MOVES, key)) {
    event.preventDefault();
    enqueue(MOVES[key]);
  } else if (Object.hasOwn(COMMANDS, key)) {
    event.preventDefault();
    enqueue(COMMANDS[key]);
  } else if (/^[1-9a-z]$/.test(key)) {
    event.preventDefault();
    enqueue(() => {
      const label = current() && labelKeys(app.about, current()).keys.get(key);
      return label === undefined ? undefined : choose(label);
    });
  }
}

function setUp() {
  document.addEventListener("keydown", onKey);
  const buttons = { save: "Enter", none: "n", unsure: "q", skip: "s", undo: "u", next: "ArrowRight", back: "ArrowLeft" };
  for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", () => enqueue(COMMANDS[key]));
  for (const [id, key] of Object.entries({ help: "?", similar: "b" })) byId(id).addEventListener("click", () => enqueue(MOVES[key]));
  byId("note").addEventListener("input", () => current() && app.notes.set(current().row, byId("note").value));
  byId("note").addEventListener("keydown", (event) => event.key === "Enter" && event.target.blur());
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("change", () => enqueue(refilter));
  byId("search").addEventListener("input", () => {
    clearTimeout(app.typing);
    app.typing = setTimeout(() => enqueue(refilter), TYPING);
  });
  setUpSimilar((...accepted) => enqueue(() => acceptSimilar(...accepted)));
}

async function begin() {
  app.about = await get("about");
  document.title = `${app.about.task}: pet review`;
  app.about.labels.forEach(([name], label) => byId("label").append(make("option", { value: label }, name)));
  byId("file").textContent = app.about.file;
  if (app.about.labels.length > MOST_WITH_KEYS) byId("digits-help").textContent = "the nine most probable labels of this text";
  else if (app.about.labels.length > 9) byId("digits-help").textContent = "the first nine labels; letters for the next ones";
  if (app.about.several) {
    byId("digits-help").textContent += ", on or off";
    byId("enter-help").textContent = "save the labels that are on; the proposed ones are at first";
  }
  app.began = app.about.revision;
  take(app.about);
  await restart();
}

setUp();
enqueue(begin).then(() => setTimeout(enqueuePoll, POLL));
