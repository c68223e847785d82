"""Training: what it is given (`Recipe`), the loop (`fit`), and what the loop stands on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["checkpoint", "losses", "prepare", "processes", "recipe", "schedules"],
    submod_attrs={
        "fit": ["fit", "seed_everything"],
        "log": ["chosen"],
        "recipe": ["Recipe"],
    },
)
