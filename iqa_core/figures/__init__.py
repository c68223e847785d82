"""Figures for papers, one decorated function each (`registry.figure`): `figures.scatter(...)` draws
one, `figures.export(figures.scatter, ...)` writes it. They draw only; what they show is computed in
`iqa_core.tables`.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

from .. import datasets, tables
from ..tables.text import escaped
from .registry import find_figures

DOTS = 150  # an inch, of PNGs
LARGEST_PNG = 1_000_000  # bytes
COMPARISONS = {  # topic of `tables.compared`: the figure that draws it
    "sizes": "size_against_performance",
    "backbones": "model_lines",
    "complexity": "complexity_bars",
    "sota_koniq10k": "state_of_the_art",
    "components": "component_bars",
    "learning_rates": "learning_rates",
    "losses": "losses",
    "transfer": "transfer_reported",
}


def __getattr__(name: str) -> Callable:
    """A figure by its name, found in the files of this folder when it is first asked for."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = find_figures()
    if name not in found:
        raise AttributeError(f"no figure {name!r}; there are {', '.join(list_figures())}")
    return found[name]


def __dir__() -> list[str]:
    return sorted([*list_figures(), "caption", "export", "list_figures", "style", "write_index"])


def list_figures() -> list[str]:
    """Names of all figures."""
    return sorted(find_figures())


def style() -> None:
    """Use the paper style for every figure drawn from here on."""
    import matplotlib.pyplot as plt

    plt.style.use(Path(__file__).with_name("paper.mplstyle"))


def export(
    drawing: Callable,
    *args,
    folder: Path,
    name: str = "",
    width: str = "",
    pictured: str = "",
    **kwargs,
):
    """Draw a figure and write it as files, with the plotted numbers and its caption.

    drawing         a figure; it is called with all further arguments: drawing(*args, **kwargs)
    folder, name    files are <folder>/<name>.pdf, .png, .svg, .csv (the numbers) and .tex (with
                    caption); the name is that of the function unless given
    width           column, page or slide (88, 181, 250 mm); by the figure's own size unless given

    pictured        path of a picture that it shows, where no argument tells

    The files are exactly so wide, unless something would be cut off; type keeps its size.

    The caption of a figure that shows pictures (it has a `root`, and its first table a column
    image) ends with whose they are. Returns the matplotlib figure.
    """
    name = name or drawing.__name__
    folder.mkdir(parents=True, exist_ok=True)
    figure, data = _drawn(drawing, args, kwargs, width)
    _save(figure, folder / name)
    words = caption(drawing)
    if "root" in kwargs:
        pictured = args[0].image.iloc[0]
    if pictured:
        words = f"{words} {datasets.credit(pictured, root=kwargs.get('root', Path()))}"
    tables.export(data, _tex(name, words), folder=folder, name=name)
    return figure


def _drawn(drawing, args, kwargs, width):
    """The figure at a printed width, and its numbers."""
    from . import page

    with page.printed(width):
        figure, data = drawing(*args, **kwargs)
    old, height = figure.get_size_inches()
    new = page.inches(width or page.nearest(old))
    # What is narrowed keeps its height, but for pictures, which would stand in empty room.
    pictures = any(axes.images for axes in figure.axes)
    figure.set_size_inches(new, height * new / old if pictures or new > old else height)
    return figure, data


def _save(figure, stem):
    """<stem>.pdf, .svg and .png, without dates, so that the same numbers give the same files."""
    from . import page

    options = {"bbox_inches": "tight"} if page.is_cut(figure) else {}
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
        figure.savefig(f"{stem}.{suffix}", metadata=metadata, **options)
    dots = DOTS
    figure.savefig(f"{stem}.png", dpi=dots, **options)
    while Path(f"{stem}.png").stat().st_size > LARGEST_PNG:  # a page of pictures
        dots *= 0.9
        figure.savefig(f"{stem}.png", dpi=dots, **options)


def write_index(folder: Path, experiment: str) -> Path:
    """`gallery.gallery`: a page of all figures and tables of an experiment."""
    from .gallery import gallery

    return gallery(folder, experiment)


def caption(drawing: Callable) -> str:
    """A figure's caption: the first paragraph of its docstring, on one line."""
    return " ".join(inspect.getdoc(drawing).split("\n\n")[0].split())


def _tex(name, words):
    return "\n".join(
        [
            r"\begin{figure}",
            r"  \centering",
            rf"  \includegraphics[width=\linewidth]{{{name}.pdf}}",
            rf"  \caption{{{escaped(words)}}}",
            rf"  \label{{fig:{name}}}",
            r"\end{figure}",
            "",
        ]
    )
