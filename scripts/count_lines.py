"""Counts lines of code of iqa_core: docstrings, comments and blank lines are not counted. Prints
core and rest.

Used by `make lint`. The aims: core <= 3,500, rest <= 4,500; `-v` lists the files.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

CORE = {
    "models",
    "datasets",
    "metrics",
    "stats",
    "splits",
    "loading",
    "cache",
    "pixels",
    "training",
    "evaluation",
}
CORE |= {
    "augment",
    "features",
    "checkpoints",
    "journal",
    "losses",
    "processes",
    "recipe",
    "schedules",
}  # parts of training
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
PACKAGE = Path(__file__).resolve().parents[1] / "iqa_core"


def code_lines(path: Path) -> int:
    """Lines of a Python file that hold code."""
    source = path.read_text(encoding="utf-8")
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(source))


def docstring_lines(source: str) -> set[int]:
    """Line numbers of all docstrings."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                found.update(range(first.lineno, first.end_lineno + 1))
    return found


def is_core(path: Path) -> bool:
    """Whether a file belongs to the core modules."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") in CORE


def main() -> None:
    counts = {path: code_lines(path) for path in sorted(PACKAGE.rglob("*.py"))}
    if "-v" in sys.argv:
        for path, count in counts.items():
            print(f"{count:6}  {'core' if is_core(path) else '    '}  {path.relative_to(PACKAGE)}")
    core = sum(count for path, count in counts.items() if is_core(path))
    print(
        f"code lines: core {core} (aim 3500), rest of iqa_core {sum(counts.values()) - core} (aim "
        f"4500)"
    )


if __name__ == "__main__":
    main()
