// Show one text: what it says, the labels to choose from, and why one of them is proposed.

import { bar, byId, make, number, percent, svg, texts } from "./dom.js";

const FOLD = 1500; // characters; longer texts are folded
const FOLDED = 1200;
const COMMANDS = "bfmnqsu";
const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"].filter((letter) => !COMMANDS.includes(letter));
const VERDICTS = { none_of_these: "None of these", unsure: "Unsure", skipped: "Skipped" };
export const MOST_WITH_KEYS = 9 + LETTERS.length;

export const labelName = (about, label) => about.labels[label][0];
export const labelNames = (about, labels) => labels.map((label) => labelName(about, label)).join(", ") || "no label";

export function verdictText(about, decision) {
  return decision.verdict === "labeled" ? labelNames(about, decision.labels) : VERDICTS[decision.verdict];
}

// The labels that are switched on. If a text may have several, the proposed ones are, until somebody decides.
export function chosenLabels(about, item) {
  const decided = ["labeled", "none_of_these"].includes(item.decision?.verdict) ? item.decision.labels : null;
  return item.draft ?? decided ?? (about.several ? item.proposed : []);
}

// Positions of the labels in the order of the list, and the key of each.
export function labelKeys(about, item) {
  const keys = new Map();
  const places = about.labels.map((_, label) => label);
  if (places.length > MOST_WITH_KEYS) places.sort((a, b) => item.probabilities[b] - item.probabilities[a] || a - b);
  const all = [..."123456789", ...(places.length > MOST_WITH_KEYS ? [] : LETTERS)];
  places.forEach((label, place) => place < all.length && keys.set(all[place], label));
  return { places, keys };
}

export function showText(item, title) {
  byId("text-title").textContent = title;
  const parts = item.fields.flatMap(([name, text, length]) => [
    item.fields.length > 1 ? make("p", { class: "field-name" }, name) : null,
    field(text, length),
  ]);
  byId("text").replaceChildren(...parts.filter(Boolean));
}

export function field(text, length) {
  const box = make("div", { class: "field", dir: "auto" });
  if (text.length <= FOLD) {
    box.textContent = text || "(empty)";
    return box;
  }
  const folded = make("span", {}, `${text.slice(0, FOLDED)} … `);
  const unfold = make("button", {
    type: "button",
    onclick: () => {
      folded.textContent = length > text.length ? `${text} … (the rest of ${number(length)} characters is in the file)` : text;
      unfold.remove();
    },
  }, `Show all ${number(length)} characters`);
  box.append(folded, unfold);
  return box;
}

export function showLabels(about, item, choose) {
  const { places, keys } = labelKeys(about, item);
  const keyOf = new Map([...keys].map(([key, label]) => [label, key]));
  const button = (label) => labelButton(about, item, label, keyOf.get(label), choose);
  const box = byId("labels");
  const few = places.length <= MOST_WITH_KEYS;
  const list = make("div", { class: few ? "" : "many" }, ...(few ? places : places.slice(9)).map(button));
  const count = make("span", { role: "status", class: "quiet" });
  const find = make("input", { type: "search", id: "find-label", autocomplete: "off", "aria-keyshortcuts": "/" });
  const matching = () => {
    const words = find.value.toLowerCase().trim();
    const all = about.labels.map((_, label) => label);
    if (!words) return null;
    const starts = (label) => labelName(about, label).toLowerCase().startsWith(words);
    return all.filter((label) => about.labels[label].join(" ").toLowerCase().includes(words)).sort((a, b) => starts(b) - starts(a));
  };
  find.addEventListener("input", () => {
    const found = matching();
    list.replaceChildren(...(found ?? (few ? places : places.slice(9))).map(button));
    count.textContent = found ? `${found.length} of ${places.length}` : "";
  });
  find.addEventListener("keydown", (event) => {
    const found = matching();
    if (event.key !== "Enter" || !found?.length) return;
    event.preventDefault();
    const same = found.find((label) => labelName(about, label).toLowerCase() === find.value.toLowerCase().trim());
    find.value = ""; // of several labels, the next Enter saves
    find.dispatchEvent(new Event("input"));
    find.blur();
    choose(same ?? found[0]);
  });
  const search = make("label", { class: "find" }, "Find a label ", make("kbd", {}, "/"), find, count);
  search.hidden = places.length <= 9; // until it is asked for
  const top = few ? [] : places.slice(0, 9).map(button);
  box.replaceChildren(...top, search, list);
}

function labelButton(about, item, label, key, choose) {
  const [name, description] = about.labels[label];
  const isProposed = item.proposed.includes(label);
  const isChosen = chosenLabels(about, item).includes(label);
  const share = item.probabilities[label];
  const options = {
    type: "button",
    class: `label${isProposed ? " proposed" : ""}${isChosen ? " chosen" : ""}`,
    "aria-keyshortcuts": key,
    "aria-pressed": isChosen ? "true" : "false",
    "data-label": label,
    title: isProposed ? "proposed" : null,
    onclick: () => choose(label),
  };
  const shown = make("span", {}, make("span", { class: "name", dir: "auto" }, name));
  if (isProposed) shown.append(make("span", { class: "unseen" }, " (proposed)"));
  if (description && about.labels.length <= 9) shown.append(make("span", { class: "description" }, description));
  return make("button", options, make("kbd", {}, key ?? ""), shown, bar(share), make("span", { class: "percent" }, percent(share)));
}

export function findLabel() {
  const find = byId("find-label");
  if (!find) return;
  find.parentElement.hidden = false;
  find.focus();
}

// Show which labels are switched on, without new buttons, so that the focus stays where it is.
export function showChosen(about, item) {
  const chosen = chosenLabels(about, item);
  for (const button of byId("labels").querySelectorAll("button.label")) {
    const isChosen = chosen.includes(Number(button.dataset.label));
    button.classList.toggle("chosen", isChosen);
    button.setAttribute("aria-pressed", isChosen ? "true" : "false");
  }
  showSave(about, item);
}

export function showSave(about, item) {
  byId("save").hidden = !about.several;
  byId("save-text").textContent = `Save: ${labelNames(about, chosenLabels(about, item))}`;
}

export function showDecision(about, item) {
  const box = byId("decision");
  box.hidden = !item.decision;
  if (!item.decision) return;
  const note = item.decision.note ? ` (${item.decision.note_shown})` : "";
  box.replaceChildren("Decided: ", make("span", { class: "name" }, verdictText(about, item.decision)), make("span", { class: "name" }, note));
}

export function showEvidence(about, item) {
  const votes = item.members.map((member) => make("div", { class: "vote" }, ...memberVotes(about, item, member)));
  byId("votes").replaceChildren(...votes);
  const near = item.nearest.map((one) =>
    make("div", { class: "near" },
      make("strong", { class: `name${sameLabels(one.labels, item.proposed) ? "" : " differs"}` }, labelNames(about, one.labels)),
      make("span", { class: "quiet" }, ` similarity ${one.similarity.toFixed(2)}${one.reviewed ? ", from this review" : ""}`),
      make("div", { class: "text", dir: "auto" }, one.text)));
  byId("nearest").replaceChildren(...(near.length ? near : [make("p", { class: "quiet" }, "No labeled texts yet.")]));
}

const sameLabels = (some, others) => some.length === others.length && some.every((label) => others.includes(label));

function memberVotes(about, item, member) {
  if (!member.votes.length) return [make("span", { class: "title" }, member.title), member.none ? "no label" : "no vote"];
  return member.votes.map((vote, place) => {
    const differs = !item.proposed.includes(vote.label);
    const times = member.members > 1 ? ` ${vote.votes} of ${member.members}` : "";
    const filled = vote.filled.map(([kind, text]) => (kind === "word" ? make("mark", {}, text.trim()) : text));
    vote.filled.forEach(([kind, text], at) => kind === "word" && text.startsWith(" ") && (filled[at] = wrapped(text)));
    return make("div", {},
      make("p", {}, make("span", { class: "title" }, place ? "" : member.title),
        make("span", { class: `name${differs ? " differs" : ""}` }, labelName(about, vote.label)), times,
        differs ? make("span", { class: "unseen" }, " (differs from the proposed label)") : null),
      filled.length ? make("p", { class: "filled", dir: "auto" }, ...filled) : null);
  });
}

const wrapped = (text) => make("span", {}, " ", make("mark", {}, text.trim()));

export function showProgress(about, state) {
  byId("task").textContent = `Review: ${about.task}`;
  const done = about.texts - state.counts.left;
  const parts = [["labeled", "labeled"], ["none_of_these", "none of these"], ["unsure", "unsure"], ["skipped", "skipped"]]
    .filter(([key]) => state.counts[key])
    .map(([key, name]) => `${number(state.counts[key])} ${name}`);
  byId("progress").textContent = `${number(done)} of ${texts(about.texts)} decided${parts.length ? `: ${parts.join(", ")}` : ""}`;
  showAgreement(state.agreement);
}

function showAgreement({ n, right, interval, curve }) {
  const box = byId("agreement");
  if (!n) {
    box.replaceChildren(make("span", { class: "quiet" }, "No figures yet"));
    return;
  }
  const [low, high] = interval;
  const said = `${percent(right / n)} agree with the proposed label (${percent(low)} to ${percent(high)}), of ${texts(n)}`;
  box.replaceChildren(curveOf(curve, said), make("span", {}, said));
}

// A line for the share, a band for its interval; left to right in the order of the decisions.
function curveOf(curve, said) {
  const last = curve[curve.length - 1][0];
  const x = (n) => (last > 1 ? (100 * (n - 1)) / (last - 1) : 50).toFixed(2);
  const y = (share) => (40 - 38 * share - 1).toFixed(2);
  const line = curve.map(([n, share]) => `${x(n)},${y(share)}`).join(" ");
  const upper = curve.map(([n, , , high]) => `${x(n)},${y(high)}`);
  const lower = curve.map(([n, , low]) => `${x(n)},${y(low)}`).reverse();
  return svg("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": said },
    svg("line", { class: "frame", x1: 0, x2: 100, y1: 39, y2: 39 }),
    svg("line", { class: "frame", x1: 0, x2: 100, y1: 1, y2: 1 }),
    svg("polygon", { class: "band", points: [...upper, ...lower].join(" ") }),
    svg("polyline", { class: "share", points: line }));
}
