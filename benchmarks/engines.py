"""Labeling with a student by every engine, ours and other people's, by turns.

    OMP_NUM_THREADS=1 python benchmarks/engines.py agnews runs/agnews/student
    OMP_NUM_THREADS=1 python benchmarks/engines.py yelp runs/yelp/student --rows 64

Every engine goes from texts to logits, with rows sorted by length in batches of 1,024 tokens, on one thread. Plain
transformers and plain graphs are what anyone would write; peers whose packages are missing are left out. Scales of int8
are measured on texts that are not timed.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import common
import numpy as np
import torch

Scores = Callable[[Mapping[str, Any]], Any]  # a padded batch -> logits
PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "nncf", "ctranslate2")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOKENS = 1024


@click.command()
@click.argument("name", metavar="TASK")
@click.argument("student", type=click.Path(path_type=Path, exists=True))
@click.option("--rows", default=256, show_default=True, help="Texts to label.")
@click.option("--measured", default=256, show_default=True, help="Other texts, for the scales of int8.")
@common.data_option
@click.option("--rounds", default=5, show_default=True, help="Report the median over this many rounds.")
@common.output_option(common.HERE / "results" / "engines.jsonl")
def main(name: str, student: Path, rows: int, measured: int, data: Path, rounds: int, output: Path) -> None:
    """Print texts per second of processor time, the ratio to the best peer, and how many labels stay the same."""
    torch.set_num_threads(1)
    from pet.student.classifier import load_classifier

    classifier = load_classifier(str(student))
    fields = classifier.text_input.fields
    texts = common.read_rows(data, name, "unlabeled", rows + measured, fields)
    table, other = _table(texts[:rows], fields), _table(texts[rows:], fields)
    with tempfile.TemporaryDirectory() as folder:
        engines = {**_ours(classifier, other), **_peers(classifier, other, Path(folder))}
        found: dict[str, Any] = {}

        def scoring(key: str) -> common.Work:
            def score() -> None:
                found[key] = engines[key](table)

            return score

        seconds = common.alternate({key: scoring(key) for key in engines}, common.CLOCKS["cpu"], rounds)
    expected = found["transformers fp32"]
    figures = {
        "task": name,
        "rows": len(table),
        "packages": {package: _version(package) for package in PACKAGES if _version(package)},
        "engines": {
            key: {
                "texts_per_second": round(len(table) / seconds[key], 1),
                "labels_kept": round(float((found[key].argmax(1) == expected.argmax(1)).mean()), 4),
                "difference": round(float(abs(found[key] - expected).max()), 5),
            }
            for key in engines
        },
    }
    common.record(output, "engines", 1, "cpu", figures)
    click.echo(_shown(figures))


def _shown(figures: Mapping[str, Any]) -> str:
    """Return the table: in each precision, ours and the peers."""
    best = {
        kind: max(v["texts_per_second"] for k, v in figures["engines"].items() if k.endswith(kind) and "pet" not in k)
        for kind in ("fp32", "bf16", "int8")
    }
    lines = [
        f"{figures['task']}, {figures['rows']} texts; " + ", ".join(f"{k} {v}" for k, v in figures["packages"].items())
    ]
    lines += [
        "",
        "| engine | texts a second | to the best peer | labels kept | difference of logits |",
        "|---|---|---|---|---|",
    ]
    for key, row in sorted(figures["engines"].items(), key=lambda item: -item[1]["texts_per_second"]):
        speed = row["texts_per_second"]
        kept, differ = f"{100 * row['labels_kept']:.1f}%", f"{row['difference']:.5f}"
        shown = f"**{key}**" if "pet" in key else key
        lines.append(f"| {shown} | {speed} | {speed / best[key.split()[-1]]:.2f} | {kept} | {differ} |")
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _table(rows: common.Rows, fields: tuple[str, ...]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{field: row[field] for field in fields} for row in rows])


def _ours(classifier: Any, other: Any) -> dict[str, Callable[[Any], Any]]:
    """The engines of this package."""
    from pet.backbones.int8 import quantize_linears
    from pet.student.exported import classifier_engine, use_engine
    from pet.training.device import make_accelerator

    fp32, bf16 = (make_accelerator("cpu", precision) for precision in ("fp32", "bf16"))
    small = copy.copy(classifier)
    vars(small).pop("logits", None)
    small.model = copy.deepcopy(classifier.model)
    _ = small.logits  # finds its layers before they are replaced
    quantize_linears(small.model, "student")
    kinds = {
        "pet torch fp32": (classifier, fp32),
        "pet torch bf16": (classifier, bf16),
        "pet torch int8": (small, fp32),
    }
    for runtime, precision, sample in (
        ("onnx", "fp32", None),
        ("onnx", "int8", other),
        ("openvino", "fp32", None),
        ("openvino", "bf16", None),
        ("openvino", "int8", other),
    ):
        if _version({"onnx": "onnxruntime"}.get(runtime, runtime)) is None:
            continue
        made = copy.copy(classifier)
        computed = "bf16" if runtime == "openvino" and precision != "fp32" else "fp32"
        use_engine(made, classifier_engine(classifier, "student", runtime, computed, sample))
        kinds[f"pet {runtime} {precision}"] = (made, fp32)

    def scoring(key: str) -> Callable[[Any], Any]:
        made, accelerator = kinds[key]
        return lambda table: made.scores(table, accelerator)

    return {key: scoring(key) for key in kinds}


def _batches(classifier: Any, table: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Padded batches of rows of similar length."""
    from pet.student.classifier import encode_texts
    from pet.training.batching import pad_rows, token_budget_batches

    encoded = encode_texts(table, classifier.text_input, classifier.tokenizer, classifier.max_length)
    for rows in token_budget_batches(encoded.ids.lengths, TOKENS):
        yield rows, pad_rows(encoded, rows, int(classifier.tokenizer.pad_token_id))[0]


def _peers(classifier: Any, other: Any, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Other people's engines, each with the graph that its users get."""
    model = copy.deepcopy(classifier.model).eval()
    peers: dict[str, Scores] = {
        "transformers fp32": _transformers(model, False),
        "transformers bf16": _transformers(model, True),
    }
    path = folder / "plain.onnx"
    if _version("onnx") and _version("onnxruntime"):
        _plain_graph(model, path)
        peers["ONNX Runtime fp32"] = _onnx(path)
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(str(path), str(folder / "int8.onnx"), per_channel=True, weight_type=QuantType.QInt8)
        peers["ONNX Runtime, dynamic int8"] = _onnx(folder / "int8.onnx")
    if path.is_file() and _version("openvino"):
        peers |= {
            f"OpenVINO {kind}": _openvino(_read(path), hint) for kind, hint in (("fp32", "f32"), ("bf16", "bf16"))
        }
        if _version("nncf"):
            import nncf

            items = [{k: batch[k] for k in INPUTS} for _, batch in _batches(classifier, other)]
            kind = nncf.ModelType.TRANSFORMER
            quantized = nncf.quantize(_read(path), nncf.Dataset(items), model_type=kind, subset_size=len(items))
            peers["OpenVINO, NNCF static int8"] = _openvino(quantized, "f32")
    if _version("ctranslate2"):
        for kind in ("fp32", "int8"):
            peers[f"CTranslate2 {kind}"] = _ctranslate2(model, folder / f"ct2-{kind}", kind)

    def scoring(key: str) -> Callable[[Any], Any]:
        def score(table: Any) -> Any:
            out = np.empty((len(table), len(classifier.labels)), np.float32)
            for rows, batch in _batches(classifier, table):
                out[rows] = peers[key](batch)
            return out

        return score

    return {key: scoring(key) for key in peers}


def _transformers(model: Any, bf16: bool) -> Scores:
    def score(batch: Mapping[str, Any]) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model(**{name: torch.from_numpy(batch[name]) for name in INPUTS}).logits.float().numpy()

    return score


def _plain_graph(model: Any, path: Path) -> None:
    ids = torch.ones(2, 8, dtype=torch.long)
    mask = ids.clone()
    mask[1, 5:] = 0
    axes = {0: "batch", 1: "tokens"}
    names = dict.fromkeys(INPUTS, axes) | {"logits": {0: "batch"}}
    model.config.return_dict = False
    given = (ids, mask, torch.zeros_like(ids))
    torch.onnx.export(
        model, given, str(path), input_names=list(INPUTS), output_names=["logits"], dynamic_axes=names, dynamo=False
    )  # fmt: skip
    model.config.return_dict = True


def _onnx(path: Path) -> Scores:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {name: batch[name] for name in INPUTS})[0]


def _read(path: Path) -> Any:
    import openvino

    return openvino.Core().read_model(str(path))


def _openvino(model: Any, hint: str) -> Scores:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    request = compiled.create_infer_request()
    return lambda batch: np.array(request.infer({name: batch[name] for name in INPUTS})[compiled.output(0)], np.float32)


def _ctranslate2(model: Any, folder: Path, kind: str) -> Scores:
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    with tempfile.TemporaryDirectory() as saved:
        model.base_model.save_pretrained(saved)
        TransformersConverter(saved).convert(str(folder), quantization={"fp32": "float32"}.get(kind, kind))
    encoder = ctranslate2.Encoder(
        str(folder), device="cpu", compute_type={"fp32": "float32"}.get(kind, kind), intra_threads=1
    )

    def score(batch: Mapping[str, Any]) -> Any:
        ids, lengths = batch["input_ids"], batch["attention_mask"].sum(1)
        values = ctranslate2.StorageView.from_array(ids.astype(np.int32))
        states = encoder.forward_batch(values, ctranslate2.StorageView.from_array(lengths.astype(np.int32)))
        hidden = torch.from_numpy(np.array(states.last_hidden_state))
        with torch.inference_mode():
            return model.classifier(model.bert.pooler(hidden)).numpy()

    return score


if __name__ == "__main__":
    sys.exit(main())
