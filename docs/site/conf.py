"""Configuration of Sphinx. `build_site.py` runs it on a staged copy of the pages."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import pet  # noqa: E402

project = "pet"
html_title = f"pet {pet.__version__}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "mathml", "code_links"]
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
highlight_language = "text"
default_role = "code"
smartquotes = False
nitpicky = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # a browser does not fetch the text of pages that are files
html_show_copyright = False
html_show_sphinx = False
