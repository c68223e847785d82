"""A page that shows every figure and table of an experiment, to be opened in a browser."""

import html
import re
from pathlib import Path

from pylatexenc.latex2text import LatexNodes2Text

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; }}
figure {{ margin: 0 0 2.5em; }}
img {{ max-width: 100%; height: auto; }}
figcaption {{ color: #444; margin-top: .4em; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
ENTRY = """<figure id="{name}">
{picture}<figcaption><b>{name}</b>. {caption} ({links})</figcaption>
</figure>"""


def gallery(folder: Path, experiment: str) -> Path:
    """Writes <folder>/<experiment>-index.html: every figure of the experiment with its caption, and
    every table, with links to their files. Returns the page's path.

    FileNotFoundError where the folder holds none.
    """
    stems = exported(folder, experiment)
    if not stems:
        raise FileNotFoundError(
            f"{folder} holds no figure of {experiment}; run its notebooks first: "
            f"`python -m iqa_core run {experiment}`"
        )
    body = "\n".join(_entry(folder, stem) for stem in stems)
    page = folder / f"{experiment}-index.html"
    page.write_text(PAGE.format(title=f"Figures of {experiment}", body=body), encoding="utf-8")
    return page


def exported(folder: Path, experiment: str) -> list[str]:
    """The names of an experiment's figures and tables in <root>/figures, sorted; not those of one
    whose name only begins alike, as demo-full beside demo.
    """
    found = [file for file in folder.glob(f"{experiment}-*.tex") if is_of(experiment, file)]
    return sorted(file.stem for file in found)


def is_of(experiment: str, path: Path) -> bool:
    """Whether a file <root>/figures/<experiment>-... is of this experiment and not of one whose
    name goes on, as demo-full does.
    """
    root = path.parents[1]
    known = [*(root / "params").glob("*/"), *(root / "data/runs").glob("*/")]
    longer = {folder.name for folder in known if folder.name.startswith(f"{experiment}-")}
    return not any(path.name.startswith(f"{name}-") for name in longer)


def _entry(folder, stem):
    """A figure or table: its picture where it has one, its caption, its files."""
    files = [f"{stem}.{suffix}" for suffix in ("pdf", "png", "svg", "csv", "md", "tex")]
    files = [file for file in files if (folder / file).is_file()]
    links = ", ".join(f'<a href="{file}">{file.rpartition(".")[2]}</a>' for file in files)
    picture = ""
    if f"{stem}.png" in files:
        picture = f'<img src="{stem}.png" alt="{stem}" loading="lazy">\n'
    words = _caption((folder / f"{stem}.tex").read_text(encoding="utf-8"))
    return ENTRY.format(name=stem, picture=picture, caption=html.escape(words), links=links)


def _caption(tex):
    r"""The words of \caption{...}, without LaTeX's commands."""
    found = re.search(r"\\caption\{(.*)\}\s*(?:\\\\)?$", tex, flags=re.MULTILINE)
    return LatexNodes2Text().latex_to_text(found.group(1)) if found else ""
