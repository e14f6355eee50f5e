// Accept a label for many similar texts, after a look at some of them.

import { get } from "./api.js";
import { byId, make, show, texts } from "./dom.js";
import { chosenLabels, field, labelNames } from "./view.js";

const now = { about: null, item: null, labels: [], rows: [], lines: [] };

export function setUpSimilar(accept) {
  byId("how-many").addEventListener("change", load);
  byId("same-label").addEventListener("change", () => {
    now.labels = [Number(byId("same-label").value)];
    update();
  });
  byId("sample").addEventListener("change", update);
  byId("similar-close").addEventListener("click", () => byId("similar-dialog").close());
  byId("accept").addEventListener("click", () => {
    byId("similar-dialog").close();
    accept(now.item, [now.item.row, ...now.rows], [now.item.line, ...now.lines], now.labels);
  });
}

export async function openSimilar(about, item) {
  const chosen = chosenLabels(about, item);
  const labels = about.several || chosen.length ? chosen : item.proposed;
  Object.assign(now, { about, item, labels, rows: [], lines: [] });
  const options = about.labels.map(([name], label) => make("option", { value: label }, name));
  byId("same-label").replaceChildren(...options);
  byId("same-label").value = labels[0];
  byId("same-label").parentElement.hidden = about.several; // several labels are chosen before
  byId("similar-dialog").showModal();
  await load();
}

async function load() {
  const item = now.item;
  show(byId("similar-about"), "Looking for similar texts…");
  byId("sample").replaceChildren();
  byId("accept").disabled = true;
  let reply;
  try {
    reply = await get("similar", { row: item.row, count: byId("how-many").value });
  } catch (error) {
    show(byId("similar-about"), error.message);
    return;
  }
  if (item !== now.item) return;
  Object.assign(now, { rows: reply.rows, lines: reply.lines });
  const proposed = labelNames(now.about, item.proposed);
  show(byId("similar-about"), reply.rows.length
    ? `${texts(reply.rows.length)} to do, most similar to this one; “${proposed}” is proposed for each, and most members agree. ` +
      "Look at some of them, the least similar and the most doubtful included, and check those that have the label."
    : `No other texts to do for which “${proposed}” is proposed and most members agree.`);
  byId("sample").replaceChildren(...reply.sample.map((one) =>
    make("li", {}, ...one.fields.map(([, text, length]) => field(text, length)), make("label", {}, make("input", { type: "checkbox" }), now.about.several ? " has these labels" : " has this label"))));
  update();
}

function update() {
  const boxes = [...byId("sample").querySelectorAll("input")];
  byId("accept").disabled = !boxes.length || !boxes.every((box) => box.checked);
  byId("accept").textContent = `Label all ${now.rows.length + 1} texts “${labelNames(now.about, now.labels)}”`;
}
