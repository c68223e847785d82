"""What a figure is: a function with the decorator `figure` in a file of this folder.

It returns (figure, data): a matplotlib figure, and a table with exactly the plotted numbers. The
first paragraph of its docstring is its caption."""

import importlib
import pkgutil
from collections.abc import Callable

REGISTRY: dict[str, Callable] = {}


def figure(function: Callable) -> Callable:
    """Register `f(...) -> (figure, data)` under its function name."""
    REGISTRY[function.__name__] = function
    return function


def find_figures() -> dict[str, Callable]:
    """All figures by name; imports every file of this folder, and with them matplotlib."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return REGISTRY
