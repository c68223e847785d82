"""uint8 arrays to what a model takes: the only reader of a contract's geometry."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["batches", "features", "jitter", "views"],
    submod_attrs={
        "views": ["FEATURES", "floats", "grid", "inputs"],
        "batches": ["Batches", "random_crops"],
        "features": ["pyramid_features"],
    },
)
