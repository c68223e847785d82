"""Training: what it is given (`Recipe`), the loop (`fit`), and what the loop stands on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["checkpoint", "log", "losses", "processes", "recipe", "schedules"],
    submod_attrs={"fit": ["check_options", "fit", "seed_everything"], "log": ["chosen"]},
)
