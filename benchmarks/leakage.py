"""Are planted near-duplicates all found, at what precision, and how long do 10,000 images take?

python benchmarks/leakage.py, a minute or two. The largest distance that counts as a duplicate was
chosen on every other photograph of data/demo (the first table); what is claimed is measured on the
others (the second). The hash itself was shaped on all 28, so it was tried once on 98 pictures it
had never seen (Debian's scratch, palapeli-data and mate-backgrounds, the samples of scikit-image,
scikit-learn and matplotlib): recall 1.0 of all that is promised, nearest of different pictures
.426, a stereo pair; it also found the one picture which those packages hold in three sizes.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from iqa_core import datasets
from iqa_core.datasets.demo import make_image
from iqa_core.leakage import LARGEST, duplicates
from iqa_core.runs import project_root

IMAGES = 1000  # timed
VERSIONS = 6  # of each photograph, every eighth of the demo's


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without those parts of its sides."""
    width, height = image.size
    across = round(left * width), round((1 - right) * width)
    down = round(top * height), round((1 - bottom) * height)
    return image.crop((across[0], down[0], across[1], down[1]))


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def smaller_mirrored_part(image: Image.Image) -> Image.Image:
    return half(cut(ImageOps.mirror(image), 0.03, 0.03, 0.03, 0.03))


PLANTS = {  # name -> (what is done, quality where it is saved as JPEG)
    "copy": (lambda image: image, None),
    "JPEG 50": (lambda image: image, 50),
    "half size": (half, None),
    "3 % off each side": (lambda image: cut(image, 0.03, 0.03, 0.03, 0.03), None),
    "mirrored": (ImageOps.mirror, None),
    "all four at once": (smaller_mirrored_part, 50),
    "5 % off each side": (lambda image: cut(image, 0.05, 0.05, 0.05, 0.05), None),
    "3 % off one side": (lambda image: cut(image, 0.03, 0, 0, 0), None),
    "8 % off one side": (lambda image: cut(image, 0, 0, 0, 0.08), None),  # not promised
}


def plant(pictures: dict[str, Image.Image], folder: Path) -> None:
    """Every picture and its planted duplicates, as <source>--<plant>.<ending>."""
    for source, picture in pictures.items():
        picture.save(folder / f"{source}--original.png")
        for name, (make, quality) in PLANTS.items():
            file = folder / f"{source}--{name}"
            if quality is None:
                make(picture).save(file.with_suffix(".png"))
            else:
                make(picture).save(file.with_suffix(".jpg"), quality=quality)


def quarters(pictures: dict[str, Image.Image]) -> dict[str, Image.Image]:
    """Hard negatives: neighbouring quarters of one photograph are other pictures of like colours
    and textures.
    """
    corners = {
        "nw": (0, 0, 0.5, 0.5),
        "ne": (0.5, 0, 0, 0.5),
        "sw": (0, 0.5, 0.5, 0),
        "se": (0.5, 0.5, 0, 0),
    }
    made = {}
    for name, image in pictures.items():
        for corner, sides in corners.items():
            made[f"{name}-{corner}"] = cut(image, *sides)
    return made


def landscapes(count: int, generator: np.random.Generator) -> dict[str, Image.Image]:
    """Hard negatives: a bright sky over a dark ground with soft random texture, all of one
    layout.
    """
    made = {}
    for number in range(count):
        texture = generator.normal(0, 1, (24, 32)) * np.linspace(6, 18, 24)[:, None]
        coarse = Image.fromarray(texture.astype(np.float32))
        texture = np.asarray(coarse.resize((512, 384), Image.Resampling.BICUBIC))
        rows = np.linspace(0, 1, 384)[:, None]
        horizon = generator.uniform(0.45, 0.55)
        grey = np.where(rows < horizon, 220 - 60 * rows, 110 - 50 * rows) + texture
        picture = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
        made[f"landscape{number:02d}"] = picture.convert("RGB")
    return made


def found(folder: Path, *, largest: float = 1.0) -> pd.DataFrame:
    """Pairs of the folder's files with what they come from and whether that is the same."""
    pairs = duplicates(sorted(folder.iterdir()), largest=largest, progress=False)
    for column in ("image", "image2"):
        names = pairs[column].map(lambda path: Path(path).stem)
        pairs[[f"source_{column}", f"plant_{column}"]] = names.str.split("--", expand=True)
    return pairs.assign(same=pairs.source_image == pairs.source_image2)


def report(pictures: dict[str, Image.Image]) -> None:
    """Recall by plant, precision, and the margin on both sides of the limit."""
    with tempfile.TemporaryDirectory() as folder:
        plant(pictures, Path(folder))
        pairs = found(Path(folder))
    first, second = (pairs[column] == "original" for column in ("plant_image", "plant_image2"))
    with_original = pairs[pairs.same & (first | second)]
    plants = with_original.plant_image.where(second, with_original.plant_image2)
    for name in PLANTS:
        distance = with_original.distance[plants == name]
        recall = (distance <= LARGEST).sum() / len(pictures)
        print(f"  {name:18} recall {recall:.3f} of {len(pictures)}, farthest {distance.max():.3f}")
    flagged = pairs[pairs.distance <= LARGEST]
    nearest = pairs.distance[~pairs.same].min()
    print(
        f"  precision {flagged.same.mean():.4f} of {len(flagged)} flagged; nearest of different "
        f"pictures {nearest:.3f}"
    )


def main() -> None:
    root, generator = project_root(), np.random.default_rng(0)
    paths = sorted((root / "data/demo").glob("*.png"))
    photos = {path.stem: Image.open(path).convert("RGB") for path in paths}
    halves = [dict(list(photos.items())[start::2]) for start in (0, 1)]
    for name, some in zip(("chosen on", "claimed from"), halves, strict=True):
        print(f"{name} {len(some)} photographs, limit {LARGEST}")
        report(some)
        print(" and their quarters, 256 x 192")
        report(quarters(some))

    # Pictures that are alike without being the same one.
    with tempfile.TemporaryDirectory() as folder:
        negatives = landscapes(60, generator)
        count = len(negatives)
        for level in range(0, 250, 25):
            plain = Image.new("RGB", (512, 384), (level, level, 255 - level))
            negatives[f"plain{level}"] = negatives[f"again-plain{level}"] = plain
            count += 1
        for name, picture in negatives.items():
            picture.save(Path(folder) / f"{name}--original.jpg", quality=90)
        pairs = found(Path(folder))
        flagged = (pairs.distance <= LARGEST).sum()
        print(
            f"{count} pictures of one layout or plain: {flagged} pairs flagged, "
            f"nearest {pairs.distance.min():.3f}"
        )

    # Distorted versions of one photograph.
    table = datasets.load_table("demo", root=root)
    table = table[table.index % (len(table) // (VERSIONS * len(photos))) == 0]
    with tempfile.TemporaryDirectory() as folder:
        for row in table.itertuples():
            file = Path(folder) / f"{row.content}--{row.Index}.png"
            Image.fromarray(make_image(row, root)).save(file, compress_level=1)
        pairs = found(Path(folder), largest=LARGEST)
        each = table.groupby("content").size()
        of_one_content = int((each * (each - 1) / 2).sum())
        print(
            f"{len(table)} distorted versions: of {of_one_content} pairs of one content "
            f"{pairs.same.sum()} are flagged, of the others {(~pairs.same).sum()}"
        )

    # Many pictures, mixed of three photographs each, for the time.
    with tempfile.TemporaryDirectory() as folder:
        small = [np.asarray(photo).astype(np.float32) for photo in photos.values()]
        for number in range(IMAGES):
            chosen, shares = generator.choice(28, 3), generator.dirichlet([1] * 3)
            mixed = sum(small[k] * share for k, share in zip(chosen, shares, strict=True))
            Image.fromarray(mixed.astype(np.uint8)).save(Path(folder) / f"{number}.jpg", quality=90)
        start = time.perf_counter()
        duplicates(sorted(Path(folder).iterdir()), progress=False)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{seconds:.1f} s for {IMAGES} JPEG images of 512 x 384, start of the workers included; "
        f"peak {peak:.0f} MB here"
    )


if __name__ == "__main__":
    main()
