"""What an error message says of a name that nobody knows: the nearest ones that are known."""

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """ "; did you mean 'epochs'?" for `epoch`, to go on an error message; "" if no name is near.

    `most` names of `known` are told, nearest first, where they are alike by at least `cutoff`, from
    0 to 1 (as `difflib.get_close_matches` measures it).
    """
    close = difflib.get_close_matches(str(name), list(known), n=most, cutoff=cutoff)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
