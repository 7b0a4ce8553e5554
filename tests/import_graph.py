"""Who imports whom in the package, lazy and type-checking imports included; drawn as a matrix.

`python tests/import_graph.py` writes docs/architecture.svg; a test keeps it true.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sparsevlm"
# Each package imports only those before it.
ORDER = (
    "core", "runtime", "methods", "models", "benchmarks", "miniature", "evaluation", "analysis",
    "speed", "paper", "explorer", "integrations", "cli",
)  # fmt: skip


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_in(module: str, text: str, is_package: bool = False) -> set[str]:
    """Modules that a file imports: inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in FILES else base)
    return found


@cache
def graph() -> dict[str, set[str]]:
    """Module to the modules of the package that it imports."""
    return {
        name: {
            other
            for other in imports_in(name, path.read_text("utf-8"), path.stem == "__init__")
            if other in FILES and other != name
        }
        for name, path in FILES.items()
    }


def package_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def drawn() -> str:
    """The packages in order with purpose and size, and a dot where one imports another, as SVG."""
    cell, left, top = 26, 590, 104
    width, height = left + cell * len(ORDER) + 60, top + cell * len(ORDER) + 18
    edges = Counter(
        (package_of(name), package_of(other)) for name in graph() for other in graph()[name]
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="10" y="24" font-size="13" fill="#444">A dot: the row imports the column (larger: '
        "more often). All lie below the diagonal.</text>",
    ]
    for place, package in enumerate(ORDER):
        y, x = top + cell * place, left + cell * place
        files = [path for name, path in FILES.items() if package_of(name) == package]
        modules = sum(path.stem != "__init__" for path in files)
        purpose = ast.get_docstring(ast.parse(FILES[f"sparsevlm.{package}"].read_text("utf-8")))
        purpose = purpose.splitlines()[0].rstrip(".")
        shade = "#f6f8fa" if place % 2 else "white"
        parts += [
            f'<rect x="0" y="{y}" width="{width}" height="{cell}" fill="{shade}"/>',
            f'<text x="10" y="{y + 17}" font-weight="bold">{package}</text>',
            f'<text x="96" y="{y + 17}" fill="#444" font-size="11">{escape(purpose)}</text>',
            f'<text x="{left - 10}" y="{y + 17}" text-anchor="end" fill="#888" font-size="11">'
            f"{modules} modules</text>",
            f'<text x="{x + 17}" y="{top - 8}" transform="rotate(-50 {x + 17} {top - 8})">{package}'
            "</text>",
            f'<rect x="{x + 2}" y="{y + 2}" width="{cell - 4}" height="{cell - 4}" rx="3" '
            'fill="#dde3ea"/>',
        ]
        for column, other in enumerate(ORDER):
            if count := edges[package, other] * (package != other):
                radius = min(2.5 + count**0.5 * 0.9, 10)
                center = f'cx="{left + cell * column + cell / 2}" cy="{y + cell / 2}"'
                parts.append(f'<circle {center} r="{radius:.1f}" fill="#2b6cb0"/>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    target = ROOT / "docs" / "architecture.svg"
    target.write_text(drawn(), encoding="utf-8")
    sys.stdout.write(f"wrote {target.relative_to(ROOT)}\n")
