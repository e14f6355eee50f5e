"""Code that is the name of a command or a public name, such as ``pet run``, links to its reference."""

from __future__ import annotations

import re
from typing import Any

from command_pages import every_command, page_of
from docutils import nodes
from name_pages import FOLDER, converted
from sphinx.transforms.post_transforms import SphinxPostTransform

import pet

TARGETS = {f"pet {name}": page_of(name) for name, _ in every_command()}
TARGETS |= {name: f"{FOLDER}/{name}" for name in pet.__all__}
TARGETS |= {f"pet.{name}": f"{FOLDER}/{name}" for name in pet.__all__}


class LinkCode(SphinxPostTransform):
    """Turn such code into links, except in headings and links, and on the page that it would lead to."""

    default_priority = 200

    def run(self, **options: Any) -> None:
        for node in list(self.document.findall(nodes.literal)):
            page = TARGETS.get(node.astext())
            parent: Any = node.parent
            while parent is not None and not isinstance(parent, (nodes.title, nodes.reference)):
                parent = parent.parent
            if page is None or page == self.env.docname or parent is not None:
                continue
            address = self.app.builder.get_relative_uri(self.env.docname, page)
            node.replace_self(nodes.reference("", "", node.deepcopy(), internal=True, refuri=address))


def docstring(app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Convert a docstring for autodoc."""
    lines[:] = converted(lines)


def resolve(app: Any, env: Any, node: Any, child: nodes.Element) -> nodes.Element | None:
    """Link types in signatures: public names to their pages; other types stay text."""
    name = re.sub(r"^.*\.", "", node.get("reftarget", ""))
    if node.get("refdomain") != "py":
        return None
    if name not in pet.__all__:
        return child
    address = app.builder.get_relative_uri(node["refdoc"], f"{FOLDER}/{name}")
    return nodes.reference("", "", child, internal=True, refuri=address)


def setup(app: Any) -> dict[str, bool]:
    """Register the transform."""
    app.add_post_transform(LinkCode)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
