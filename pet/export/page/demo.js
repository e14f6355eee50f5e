// Classify texts with transformers.js, from the files beside this page only.
import {AutoModelForSequenceClassification, AutoTokenizer, env} from "./transformers.min.js";

const here = new URL(".", location.href).href;
const byId = (id) => document.getElementById(id);

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = here;
env.useBrowserCache = false;
env.useWasmCache = false;
env.backends.onnx.wasm.numThreads = 1;
env.backends.onnx.wasm.wasmPaths = {
  mjs: `${here}ort-wasm-simd-threaded.asyncify.mjs`,
  wasm: `${here}ort-wasm-simd-threaded.asyncify.wasm`,
};

async function readJson(name) {
  const answer = await fetch(new URL(name, here));
  return answer.ok ? answer.json() : null;
}

function shown(logits, independent) {
  if (independent) return logits.map((x) => 1 / (1 + Math.exp(-x)));
  const most = Math.max(...logits);
  const powers = logits.map((x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / sum);
}

function showScores(labels, probabilities) {
  const order = labels.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  byId("scores").replaceChildren(...order.slice(0, 20).map((i) => {
    const row = document.createElement("tr");
    for (const text of [labels[i], (100 * probabilities[i]).toFixed(1) + "%"]) {
      const cell = document.createElement("td");
      cell.textContent = text; // labels are text, never markup
      row.append(cell);
    }
    return row;
  }));
}

async function main() {
  const [config, about] = [await readJson("config.json"), await readJson("export.json")];
  const labels = Object.keys(config.id2label).sort((a, b) => a - b).map((key) => config.id2label[key]);
  const independent = config.problem_type === "multi_label_classification" || labels.length === 1;
  const tokenizer = await AutoTokenizer.from_pretrained(".");
  const model = await AutoModelForSequenceClassification.from_pretrained(".", {
    dtype: about && about.int8 ? "q8" : "fp32", device: "wasm",
  });
  byId("pair").hidden = !(about && about.pair);
  byId("state").textContent = "Ready. Your text stays in this browser.";
  byId("classify").disabled = false;
  byId("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const options = {truncation: true, padding: true};
    // Without a second text, Python's pipeline and `pet predict` read a single one.
    if (about && about.pair && byId("second").value) options.text_pair = byId("second").value;
    const {logits} = await model(tokenizer(byId("text").value, options));
    showScores(labels, shown(Array.from(logits.data), independent));
    document.body.dataset.done = "yes";
  });
}

main().catch((error) => {
  byId("state").textContent = `The model could not be loaded: ${error.message}`;
});
