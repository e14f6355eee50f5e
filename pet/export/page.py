"""The page that classifies in a browser: ``demo.html`` beside an exported classifier."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

from pet.errors import PetError

PAGE = Path(__file__).with_name("page")
FILES = ("demo.html", "demo.js", "demo.css")
VERSION = "4.3.2"  # of @huggingface/transformers
# File of the npm packages -> its hash. They are not part of this package.
SCRIPTS = {
    "@huggingface/transformers/dist/transformers.min.js": (
        "sha384-xFDNfwR3J/vPYzGjMr1VSM8LHIcA+ii2Ha4x+6WAuISKpT9I0dxgF/mVQW+I0kSd"
    ),
    "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs": (
        "sha384-ik7L7J2uXfXmGuWHh3yOUDPpUslz/dJjcvZgdX5hcItLjxlkEpUF7mpCcATr3Dg8"
    ),
    "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm": (
        "sha384-JuzrCV6BUmTUbsgNhgU94qo0vZ4l3w0VqgQAKPm0La2hXL9kmv8P9pGenfsWJY9c"
    ),
}
_HELP = f"""\
demo.html classifies texts in a browser, with transformers.js and the files in this folder. Nothing leaves the machine.

The scripts of transformers.js are not in this folder unless it was exported with --node-modules. To add them:

    npm install --ignore-scripts @huggingface/transformers@{VERSION}
    pet export MODEL -o FOLDER --onnx --node-modules node_modules

Then serve the folder and open http://localhost:8000/demo.html:

    python -m http.server --bind 127.0.0.1 --directory FOLDER 8000
"""


def write_page(folder: Path, node_modules: Path | None) -> None:
    """Write the page, and copy the scripts that it needs.

    Parameters
    ----------
    folder : where the exported classifier is
    node_modules : where npm installed transformers.js; None: the page says how to add the scripts

    Raises
    ------
    PetError
        If a script is missing, or is not the one that this version of the package knows.
    """
    for name in FILES:
        shutil.copyfile(PAGE / name, folder / name)
    (folder / "README-demo.txt").write_text(_HELP, encoding="utf-8")
    for name, expected in SCRIPTS.items() if node_modules is not None else ():
        source = Path(node_modules or ".") / name
        cure = f"install it with: npm install --ignore-scripts @huggingface/transformers@{VERSION}"
        if not source.is_file():
            raise PetError(f"{source}: no such file; {cure}")
        data = source.read_bytes()
        found = f"sha384-{base64.b64encode(hashlib.sha384(data).digest()).decode('ascii')}"
        if found != expected:
            raise PetError(f"{source}: is not the file of @huggingface/transformers {VERSION}; {cure}")
        (folder / source.name).write_bytes(data)
