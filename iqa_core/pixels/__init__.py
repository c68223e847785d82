"""Files to uint8 arrays, decoded once: reading in one way for everything, and a cache on disk. No
torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cache", "read"],
    submod_attrs={
        "read": [
            "ENDINGS", "ENLARGED", "FORMATS", "MEGAPIXELS", "NOT_READ", "Size", "image_size",
            "image_sizes", "read_image", "resize", "sides",
        ],
        "cache": ["PixelCache"],
    },
)  # fmt: skip
