"""The code that an image was made by, as text, so that a change of it can be told from others."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType

PACKAGE = __name__.partition(".")[0]
CONSTANTS = (int, float, str, tuple)


def code_of(*functions: Callable) -> str:
    """Functions, and all functions and constants of this package that they reach by name.

    Docstrings, comments, decorators and layout are left out: they change no result. What is reached
    through a dictionary or an argument is not seen; give such functions too.

    Returns the parts, sorted by name, as one text.
    """
    waiting = list(functions)
    parts = {}
    while waiting:
        function = waiting.pop()
        name = f"{function.__module__}.{function.__qualname__}"
        if name in parts:
            continue
        parts[name] = _plain(function)
        for word in _names(function.__code__) & function.__globals__.keys():
            value = inspect.unwrap(function.__globals__[word])
            if isinstance(value, CONSTANTS):
                parts[f"{function.__module__}.{word}"] = repr(value)
            else:
                waiting += _functions(value)
    return "\n".join(f"{name}: {text}" for name, text in sorted(parts.items()))


def _names(code: CodeType) -> set[str]:
    """Names that a function looks up, also in functions and comprehensions inside it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _functions(value: object) -> Iterator[Callable]:
    """A function of this package; of a class or a module of it, every function that is in it."""
    home = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
    if (home or "").partition(".")[0] != PACKAGE:
        return
    if inspect.isfunction(value):
        yield value
    elif inspect.isclass(value) or inspect.ismodule(value):
        for member in vars(value).values():
            if inspect.isfunction(member) and member.__module__ == home:
                yield member


def _plain(function: Callable) -> str:
    """A function's source without docstrings, comments and decorators."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
