"""The order of the pages: sections of the sidebar. A page that is linked but in no section ends the build."""

from __future__ import annotations

# Caption -> pages, by their place in the repository; folders of generated pages are named without a suffix.
SECTIONS = {
    "Start": ("docs/tutorial.md", "examples/README.md", "docs/how-do-i.md", "docs/concepts.md"),
    "Guides": (
        "docs/task-file.md",
        "docs/words.md",
        "docs/commands.md",
        "docs/bad-results.md",
        "docs/review.md",
        "docs/multi-label.md",
        "docs/merging.md",
        "docs/ipet.md",
        "docs/pcp.md",
        "docs/teachers.md",
        "docs/backbones.md",
        "docs/tuning.md",
        "docs/scale.md",
        "docs/python.md",
        "docs/superglue.md",
    ),
    "Reference": ("reference/commands", "reference/python", "docs/settings.md", "docs/run-folder.md"),
    "Background": (
        "docs/reliability.md",
        "docs/library-defaults.md",
        "benchmarks/README.md",
        "benchmarks/results",
        "data/README.md",
        "corpus/README.md",
    ),
    "Project": ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
}
