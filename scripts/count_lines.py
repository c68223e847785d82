"""Prints a small table of iqa_core's code by room, for information: `make lint` ends with it.

Lines of code are those that hold more than a docstring, a comment or nothing. A room is a folder of
iqa_core, or a file beside the folders.
"""

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "iqa_core"
LONG = 100  # characters
HOLD_DOCSTRINGS = ast.Module | ast.ClassDef | ast.FunctionDef
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def main() -> None:
    rooms = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        rooms.setdefault(room, []).append(path)
    print(f"{'room':20}{'lines':>6}  {'characters a line':>17}  {'above 100':>9}  longest function")
    for room in sorted(rooms, key=lambda room: (room.endswith(".py"), room)):
        print(row(room, rooms[room]))
    print(row("iqa_core", [path for paths in rooms.values() for path in paths]))


def row(name: str, paths: list[Path]) -> str:
    """A room's lines of code, their mean length, the share of long ones, its longest function."""
    lengths, functions = [], []
    for path in paths:
        source = path.read_text(encoding="utf-8")
        lines = code_lines(source)
        lengths += [len(text) for text in lines.values()]
        functions += function_lengths(source, lines)
    count = len(lengths)
    mean = sum(lengths) / max(count, 1)
    long = sum(length > LONG for length in lengths) / max(count, 1)
    longest, function = max(functions, default=(0, "none"))
    return f"{name:20}{count:6}  {mean:17.1f}  {long:9.1%}  {function}, {longest} lines"


def code_lines(source: str) -> dict[int, str]:
    """The lines of a file that hold code, by number."""
    numbers = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            numbers.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, HOLD_DOCSTRINGS) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            numbers.difference_update(range(docstring.lineno, docstring.end_lineno + 1))
    lines = source.splitlines()
    return {number: lines[number - 1] for number in sorted(numbers)}


def function_lengths(source: str, lines: dict[int, str]) -> list[tuple[int, str]]:
    """(lines of code, name) of every function of a file, its signature included."""
    lengths = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            inside = range(node.lineno, node.end_lineno + 1)
            lengths.append((sum(number in lines for number in inside), node.name))
    return lengths


if __name__ == "__main__":
    main()
