"""Writes docs/preprocessing.md: what models' contracts make of a 4000 x 3000 photograph, and of
images that are not plain.

`python scripts/make_preprocessing_docs.py` after a change of a contract; `make test-slow` says when
the file is stale."""

from pathlib import Path

import numpy as np
import torch
from make_model_docs import table

from iqa_core import pixels
from iqa_core.loading import grid
from iqa_core.models import Contract, create_model, list_models, module_of
from iqa_core.models.layers import Normalise
from iqa_core.models.musiq import PATCH, target_size
from iqa_core.models.published import rows
from iqa_core.models.weights import _contract

FILE = Path(__file__).resolve().parents[1] / "docs/preprocessing.md"
HEIGHT, WIDTH = 3000, 4000
MEANS = {(0.485, 0.456, 0.406): "ImageNet's mean and deviation", (0.5, 0.5, 0.5): "to -1..1"}

HEAD = """\
# What happens to an image on its way in

Made from the models' contracts by `scripts/make_preprocessing_docs.py`; edit that, not this page. The commonest source of
wrong scores is not the network but what reaches it.

A file is read by `pixels.read_image` to RGB of 8 bits; `evaluation.predict` and `training.fit` resize it as the model's
contract says (`pixels.resize`, Pillow's filters, antialiased), cut crops, hand them over as numbers in [0, 1], and the
network normalises them itself. The prediction is the mean over the crops. A `PixelCache(..., resize=...)` keeps images as they
are after the resize, so that nothing is resized for each crop. Its folder is `data/cache`; stores of lists that are no longer
in use are not removed by themselves: delete the folder while nothing runs, and what is needed is decoded again.

## A photograph of {width} x {height}

*Scale*: pixels across and down that are left of one. *Seen*: share of the resized picture that lies in any crop. Where
crops are more than one they stand on a fixed grid that reaches all four borders, so a score is the same every time.
Rows with a name of weights: what changes when those are loaded (`python -m iqa_core weights convert`).
"""
AUTHORS = """
## Where the authors' codes differ

Those that read by Pillow drop alpha and ignore the EXIF orientation. For the same photograph, otherwise:
"""
PLAIN = """
## Images that are not plain

Decided in `iqa_core/pixels.py`, for training, prediction, measures and the cache alike. *Elsewhere*: what comes of
`Image.open(path).convert("RGB")` and a crop, as most published loaders have it.
"""
WHY = """
## Why two tools give two scores to one image

- Random crops: without a seed every call draws others; even the authors' own code then disagrees with itself.
- The resize: its shape (squashed, portrait, shorter side), its filter, and whether it is antialiased (Pillow is; OpenCV and
  `torch.nn.functional.interpolate` are not unless asked). From {width} x {height} to 512 x 384 this alone changes sharpness.
- Native crops of a large photograph are a few windows on it: sharp and noisy at the pixel, whatever the whole looks like.
- Rotation and alpha: a portrait photograph read lying on its side, a transparent logo read on black.
- Decoders: TensorFlow's fast JPEG decoding differs from libjpeg's by one level on average; colour profiles are ignored by all.
- Weights and range: the same name on other data, z-scores on 0..100 against 1..5, or a scale on which lower is better.
"""


def main() -> None:
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.name}")


def text() -> str:
    """The whole page."""
    models = {
        name: [(v, create_model(name, **how, pretrained=False)) for v, how in variants(name)]
        for name in list_models()
    }
    ways = [[f"`{name}`, {variant}" if len(built) > 1 else f"`{name}`", *way(model.contract, model)]
            for name, built in models.items() for variant, model in built]  # fmt: skip
    own = {name: built[0][1] for name, built in models.items()}
    for row in rows():
        if (
            row.resize and own[row.model].contract.resize is None
        ):  # the file is asked for its hash alone
            changed = _contract(own[row.model].contract, row, Path(__file__))
            ways.append([f"`{row.model}` with `{row.name}`", *way(changed, own[row.model])])
    return "\n".join([
        HEAD.format(width=WIDTH, height=HEIGHT),
        table(["model", "resized to, width x height", "scale", "crops", "seen", "normalised"], sorted(ways)),
        AUTHORS,
        *(f"- `{name}`: {told}" for name, told in authors().items()),
        PLAIN,
        table(["image", "here", "elsewhere"], plain()),
        WHY.format(width=WIDTH, height=HEIGHT),
    ])  # fmt: skip


def variants(name: str) -> list[tuple[str, dict]]:
    """One published size of a model, and a second one where its crops differ."""
    known = list(module_of(name).VARIANTS.items())
    return known if name == "iqt" else known[:1]


def way(contract: Contract, model: torch.nn.Module) -> list[str]:
    """Size, scale, crops, share of the picture and normalisation, in words."""
    least = max(contract.crop or 0, contract.context or 0)
    height, width = pixels.sides(HEIGHT, WIDTH, contract.resize, least)
    filters = dict.fromkeys(contract.interpolation[: 2 if contract.reference else 1])
    size = (
        f"{width} x {height} ({', its reference '.join(filters)})"
        if contract.resize
        else "as it is"
    )
    crops, seen = (
        [f"whole image, in {scales(model)}"] if not contract.crop else [""],
        np.zeros((height, width), bool),
    )
    if contract.crop:
        corners = grid(height, width, crop=contract.crop, crops=contract.crops)
        tops, lefts = ({corner[axis] for corner in corners} for axis in (0, 1))
        place = (
            "the centre"
            if contract.crops == 1
            else f"{len(corners)}: {len(tops)} rows of {len(lefts)}"
        )
        crops = [f"{contract.crop}, {place}"] + [f"with the centre {contract.context}"] * bool(
            contract.context
        )
        crops += [f"of it and its {contract.reference} image"] * bool(contract.reference)
        for top, left in corners:
            seen[top : top + contract.crop, left : left + contract.crop] = True
    scale = f"{width / WIDTH:.3f}, {height / HEIGHT:.3f}" if contract.resize else "1"
    means = dict.fromkeys(
        MEANS[tuple(round(v, 3) for v in m.mean.flatten().tolist())] for m in normalises(model)
    )
    return [
        size,
        scale,
        ", ".join(crops),
        share(seen) if contract.crop else "100 %",
        ", ".join(means) or "to -1..1",
    ]


def share(seen: np.ndarray) -> str:
    """Per cent."""
    return f"{100 * seen.mean():.0f} %"


def normalises(model: torch.nn.Module) -> list[Normalise]:
    """The normalisations inside a network; none where it takes [0, 1] to [-1, 1] by itself."""
    return [module for module in model.modules() if isinstance(module, Normalise)]


def scales(model: torch.nn.Module) -> str:
    """What MUSIQ makes of it: patches at each of its sizes."""
    sizes = [
        (HEIGHT, WIDTH) if side is None else target_size(HEIGHT, WIDTH, side)
        for side in model.sides
    ]
    return (
        " + ".join(f"{-(-h // PATCH) * -(-w // PATCH):,}" for h, w in sizes)
        + f" patches of {PATCH}"
    )


def authors() -> dict[str, str]:
    """What the published code does with the same file; sizes are computed."""
    height, width = pixels.sides(HEIGHT, WIDTH, (512, 384))
    squeezed = (height / HEIGHT) / (width / WIDTH)
    portrait = f"`Resize((512, 384))` means height and width: a landscape becomes a portrait of {width} x {height}, objects"
    portrait += f" {squeezed:.2f} times too narrow"
    patches, columns = 512, -(-WIDTH // PATCH)
    part = patches / (columns * -(-HEIGHT // PATCH))
    return {
        "hyperiqa": f"for KonIQ-10k {portrait}. Then 10 (demo) or 25 (tests) random crops of 224, unseeded. Weights trained so "
        "need the same: `hyperiqa-koniq` resizes so here, too; models trained here see native pixels unless their contract "
        "says otherwise.",
        "smart_iqa": "the same inverted resize, once an image, then 20 random crops; `smart_iqa-koniq` likewise here.",
        "musiq": "decodes by TensorFlow: orientation is ignored, grey files and alpha break it; the scales are as here. "
        f"Training cuts native patches to the first {patches} in reading order: of this picture {100 * part:.0f} %, its top.",
        "maniqa": "reads by OpenCV, which obeys the orientation. KonIQ-10k weights were trained and tested on whole images "
        "squashed to 224 x 224 (OpenCV's bicubic, not antialiased), which `maniqa-koniq` gets here (Pillow's, antialiased); "
        "the authors' script for single images feeds the same weights 20 random native crops. KADID-10k and PIPAL: native "
        "crops, as here, there random.",
        "iqt": "none is published; the paper takes as few overlapping crops as cover the image, as here.",
        "ckdn": "the same; the second image is resized by nearest neighbour only because the code treats it as a label map.",
        "ra_miqa": "the same at inference; training takes the 224 at random from the resized picture.",
        "miqa_baseline": "the same at inference; training takes the 224 at random from the resized picture.",
    }


def plain() -> list[list[str]]:
    """The table of edge cases."""
    formats = ", ".join(pixels.FORMATS)
    return [
        [
            "EXIF orientation",
            "turned upright; metadata that cannot be read turns nothing",
            "ignored; OpenCV obeys it",
        ],
        [
            "alpha, transparent palettes",
            "on white, as on a page",
            "dropped: hidden colours appear, mostly black",
        ],
        ["palette", "its colours", "the same"],
        ["grey, 1 bit", "three equal channels", "the same; some codes fail"],
        [
            "16 bits, 12 bits grey",
            "the upper 8 bits",
            "grey is clipped: white from 255 of 65535 on; OpenCV scales",
        ],
        [
            "grey as floats or integers of 32 bits",
            "refused: nothing says which value is white",
            "clipped",
        ],
        ["CMYK", "Pillow's conversion, without profile", "the same"],
        ["colour profile (wide gamut)", "not applied", "not applied"],
        ["animation, several pages", "the first frame", "the first frame"],
        [
            "truncated, empty, no image",
            "refused by name and reason",
            "an exception without the name, or skipped",
        ],
        [
            f"other formats than {formats}",
            "refused; EPS would start a program",
            "whatever Pillow opens",
        ],
        [
            f"above {pixels.MEGAPIXELS} megapixels",
            "refused before decoding; below, little more than 2 GB of memory",
            "a warning above 89, an exception above 179",
        ],
        [
            "smaller than the crop",
            "enlarged (the contract's filter, bilinear as a rule) until the shorter side is the crop: to the model it looks "
            "blurred, so trust such a score less",
            "an exception, or padding",
        ],
        [
            "very long and narrow",
            f"refused where enlarging makes more than {pixels.ENLARGED} megapixels; the error names size and fix",
            "memory runs out",
        ],
        ["1 pixel", "enlarged to one flat colour", "an exception, or the same"],
        [
            "small, whole-image models (MUSIQ)",
            "as they are; the network enlarges and pads with mid-grey",
            "the same",
        ],
        [
            "red and blue",
            "RGB throughout; a test swaps them and must fail",
            "the same; OpenCV reads BGR",
        ],
    ]


if __name__ == "__main__":
    main()
