"""uint8 arrays to what a model takes: the only reader of a contract's geometry."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["batches", "features", "jitter", "samples", "views"],
    submod_attrs={
        "batches": ["Batch", "Batches"],
        "features": ["check_frozen", "frozen_crops"],
        "samples": ["Samples", "open_samples"],
        "views": ["evaluation_views", "floats", "grid"],
    },
)
