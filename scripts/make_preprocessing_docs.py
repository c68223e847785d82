"""Writes docs/preprocessing.md: what models' contracts make of a 4000 x 3000 photograph, and of
images that are not plain.

`python scripts/make_preprocessing_docs.py` after a change of a contract; tests/test_pages.py says
when the page is stale.
"""

from pathlib import Path

import numpy as np
from make_model_docs import counted, table
from torch import nn

from iqa_core.loading import grid, views
from iqa_core.models import Contract, create_model, list_models, module_of
from iqa_core.models.layers import Normalise
from iqa_core.models.musiq import MUSIQ, PATCH, target_size
from iqa_core.models.published import rows as published_rows
from iqa_core.models.weights import contract_with
from iqa_core.pixels import read

FILE = Path(__file__).resolve().parents[1] / "docs/preprocessing.md"
HEIGHT, WIDTH = 3000, 4000
NORMALISED = {  # by the mean of each channel
    (0.485, 0.456, 0.406): "ImageNet's mean and deviation",
    (0.5, 0.5, 0.5): "to -1..1",
}

HEAD = f"""\
# What happens to an image on its way in

Made from the models' contracts by `scripts/make_preprocessing_docs.py`; edit that and the model
files, not this page. The commonest source of wrong scores is not the network but what reaches it.

A file is read by `pixels.read_image` to RGB of 8 bits. Training, evaluation and all else resize it
as the model's contract says (`pixels.resize`, Pillow's filters, antialiased), cut crops, hand them
over as numbers in [0, 1], and the network normalises them itself. The prediction is the mean over
the crops. A `PixelCache(..., resize=...)` keeps images as they are after the resize, so that
nothing is resized for each crop. Its folder is `data/cache`; stores of lists that are no longer in
use are not removed by themselves: delete the folder while nothing runs, and what is needed is
decoded again.

## A photograph of {WIDTH} x {HEIGHT}

*Scale*: pixels across and down that are left of one. *Seen*: share of the resized picture that lies
in any crop. Where crops are more than one they stand on a fixed grid that reaches all four borders,
so a score is the same every time. Rows with a name of weights: what changes when those are loaded
(`python -m iqa_core weights convert`).
"""
AUTHORS = """
## Where the authors' codes differ

Those that read by Pillow drop alpha and ignore the EXIF orientation. For the same photograph,
otherwise:
"""
PLAIN = """
## Images that are not plain

Decided in `iqa_core/pixels`, for training, prediction, measures and the cache alike. *Elsewhere*:
what comes of `Image.open(path).convert("RGB")` and a crop, as most published loaders have it.
"""
WHY = f"""
## Why two tools give two scores to one image

- Random crops: without a seed every call draws others; even the authors' own code then disagrees
  with itself.
- The resize: its shape (squashed, portrait, shorter side), its filter, and whether it is
  antialiased (Pillow is; OpenCV and `torch.nn.functional.interpolate` are not unless asked). From
  {WIDTH} x {HEIGHT} to 512 x 384 this alone changes sharpness.
- Native crops of a large photograph are a few windows on it: sharp and noisy at the pixel, whatever
  the whole looks like.
- Rotation and alpha: a portrait photograph read lying on its side, a transparent logo read on
  black.
- Decoders: TensorFlow's fast JPEG decoding differs from libjpeg's by one level on average; colour
  profiles are ignored by all.
- Weights and range: the same name on other data, z-scores on 0..100 against 1..5, or a scale on
  which lower is better.
"""
# kind of image | what is done here | what is done elsewhere
EDGE_CASES = f"""
EXIF orientation | turned upright, also where it stands behind the pixels; metadata that cannot be \
read turns nothing | ignored; OpenCV obeys it
alpha, transparent palettes | on white, as on a page | dropped: hidden colours appear, mostly black
palette | its colours | the same
grey, 1 bit | three equal channels | the same; some codes fail
more than 8 bits | the upper 8 bits | grey is clipped: white from 255 of 65535 on; OpenCV scales
TIFF | of every layout: planes, byte order, white as 0, alpha, up to 16 bits (tifffile) | Pillow \
gives negatives and garbled planes of 16 bits
PNG with a transparent value of 2, 4 or 16 bits | that value on white, and no other (libpng) | \
Pillow makes other values transparent
JPEG 2000 in colour beyond 8 bits | the upper 8 bits (OpenJPEG by imagecodecs) | Pillow makes \
white black
floats, numbers with a sign or of 32 bits | refused: nothing says which value is white | clipped, \
or wrapped round
TIFF in CIELAB of 16 bits, inks other than CMYK, YCbCr without compression | refused by name | an \
exception, or other colours
CMYK | Pillow's conversion, without profile | the same
colour profile (wide gamut) | not applied | not applied
animation, several pages | the first frame | the first frame
truncated, empty, no image | refused by name and reason | an exception without the name, or skipped
other formats than {", ".join(read.FORMATS)} | refused; EPS would start a program | whatever \
Pillow opens
HEIC, JPEG XL, raw files of cameras | listed by `data check` as not read; a raw file would give \
the small copy that it begins with | an exception, or that copy
hidden files and folders, `__MACOSX` | passed over | read as pictures
above {read.MEGAPIXELS} megapixels | refused before decoding; below, at most 2.5 GB of \
memory | a warning above 89, an exception above 179
smaller than the crop | enlarged (the contract's filter, bilinear as a rule) until the shorter \
side is the crop: to the model it looks blurred, so trust such a score less | an exception, or \
padding
very long and narrow | refused where enlarging makes more than {read.ENLARGED} megapixels; the \
error names size and fix | memory runs out
1 pixel | enlarged to one flat colour | an exception, or the same
small, whole-image models (MUSIQ) | as they are; the network enlarges and pads with mid-grey | the \
same
red and blue | RGB throughout; a test swaps them and must fail | the same; OpenCV reads BGR
"""


def main() -> None:
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.name}")


def text() -> str:
    """The whole page."""
    head = ["model", "resized to, width x height", "scale", "crops", "seen", "normalised"]
    edge_cases = [line.split(" | ") for line in EDGE_CASES.strip().splitlines()]
    parts = [
        HEAD,
        table(head, sorted(contract_rows())),
        AUTHORS,
        *(f"- `{name}`: {module_of(name).AUTHORS_DO}" for name in list_models()),
        PLAIN,
        table(["image", "here", "elsewhere"], edge_cases),
        WHY,
    ]
    return "\n".join(parts)


# ---- what contracts make of the photograph


def contract_rows() -> list[list[str]]:
    """A row for every model, and every size of it that crops otherwise; and for all published
    weights that resize where their model does not.
    """
    rows, models = [], {}
    for name in list_models():
        variants = different_crops(name)
        for variant in variants:
            model = network(name, variant)
            models.setdefault(name, model)
            title = f"`{name}`, {variant}" if len(variants) > 1 else f"`{name}`"
            rows.append([title, *described(model.contract, model)])
    for weights in published_rows():
        if weights.resize and models[weights.model].contract.resize is None:
            model = models[weights.model]
            contract = contract_with(model.contract, weights)
            rows.append([f"`{weights.model}` with `{weights.name}`", *described(contract, model)])
    return rows


def different_crops(name: str) -> list[str]:
    """Published sizes of a model: the first, and each whose crops are of another size."""
    sizes = {}
    for variant in module_of(name).VARIANTS:
        sizes.setdefault(counted(name, variant)[0].contract.crop, variant)
    return list(sizes.values())


def network(name: str, variant: str) -> nn.Module:
    """A network with numbers in it: its normalisation is read."""
    model, _ = counted(name, variant)
    if next(model.parameters()).is_meta:
        return create_model(name, **module_of(name).VARIANTS[variant], pretrained=False)
    return model


def described(contract: Contract, model: nn.Module) -> list[str]:
    """Size, scale, crops, share of the picture and normalisation, in words."""
    height, width = views.resized_shape(HEIGHT, WIDTH, contract)
    size, scale = "as it is", "1"
    if contract.resize:
        filters = ", its reference ".join(filters_of(contract))
        size = f"{width} x {height} ({filters})"
        scale = f"{width / WIDTH:.3f}, {height / HEIGHT:.3f}"
    if contract.crop:
        crops, seen = crops_and_share(contract, height, width)
    else:
        patches = f", in {musiq_patches(model)}" if isinstance(model, MUSIQ) else ""
        crops, seen = f"whole image{patches}", "100 %"
    return [size, scale, crops, seen, normalisation(model)]


def filters_of(contract: Contract) -> list[str]:
    """The resizing filter, and the reference's where it is another one."""
    image, reference = contract.interpolation
    return [image, reference] if contract.reference and reference != image else [image]


def crops_and_share(contract: Contract, height: int, width: int) -> tuple[str, str]:
    """Where crops lie, in words, and per cent of the resized picture that lie in any of them."""
    corners = grid(height, width, crop=contract.crop, crops=contract.crops)
    seen = np.zeros((height, width), bool)
    for top, left in corners:
        seen[top : top + contract.crop, left : left + contract.crop] = True
    if contract.crops == 1:
        place = "the centre"
    else:
        tops = {top for top, _ in corners}
        lefts = {left for _, left in corners}
        place = f"{len(corners)}: {len(tops)} rows of {len(lefts)}"
    words = [f"{contract.crop}, {place}"]
    if contract.context:
        words.append(f"with the centre {contract.context}")
    if contract.reference:
        words.append(f"of it and its {contract.reference} image")
    return ", ".join(words), f"{100 * seen.mean():.0f} %"


def musiq_patches(model: nn.Module) -> str:
    """What MUSIQ makes of the photograph: patches at each of its sizes."""
    counts = []
    for side in model.sides:
        height, width = (HEIGHT, WIDTH) if side is None else target_size(HEIGHT, WIDTH, side)
        counts.append(-(-height // PATCH) * -(-width // PATCH))
    return f"{' + '.join(f'{count:,}' for count in counts)} patches of {PATCH}"


def normalisation(model: nn.Module) -> str:
    """How the network normalises; one that has no part for it takes [0, 1] to [-1, 1]."""
    means = [
        each.mean.flatten().tolist() for each in model.modules() if isinstance(each, Normalise)
    ]
    known = [tuple(round(value, 3) for value in mean) for mean in means]
    words = [NORMALISED.get(mean, "a mean and deviation of its own") for mean in known]
    return ", ".join(dict.fromkeys(words)) or "to -1..1"


if __name__ == "__main__":
    main()
