"""Make the demo photographs in data/demo from openly licensed sources.

Most come out of Debian packages (`apt-get download`, unpacked in a temporary folder), five from the
installed scikit-image and scikit-learn. Each picture is cropped, reduced to 512x384 (never
enlarged), taken to sRGB and written as PNG, with its author, licence and SHA-256 in photos.csv and,
for people, in CREDITS.md. Nothing else in the project needs this script: its results are tracked.
Run it on Debian 12: `python scripts/make_demo_photos.py`.
"""

import csv
import hashlib
import io
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageCms

SIZE = (512, 384)
OUT = Path(__file__).resolve().parent.parent / "data" / "demo"
COLUMNS = ["file", "title", "author", "licence", "licence_address", "source_address", "changes"]
COLUMNS += ["sha256"]

# Where a source's pictures lie: a Debian package and a folder in it, or an installed Python package
# and a folder in it.
DEBIAN = {
    "ut16": ("lomiri-wallpapers-16.04", "usr/share/backgrounds"),
    "ut20": ("lomiri-wallpapers-20.04", "usr/share/backgrounds"),
    "palapeli": ("palapeli-data", "usr/share/palapeli/collection"),
    "lxqt": ("lxqt-themes", "usr/share/lxqt/wallpapers"),
    "jxl": ("libjxl-testdata", "usr/share/libjxl-testdata/jxl/flower"),
}
PYTHON = {"skimage": "data", "sklearn": "datasets/images"}

LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "BSD-3-Clause": "https://spdx.org/licenses/BSD-3-Clause.html",
    "Public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}
LOMIRI = "https://gitlab.com/ubports/development/core/lomiri-wallpapers"
LXQT = "https://github.com/lxqt/lxqt-themes"
COMMONS = "https://commons.wikimedia.org/wiki/File:"
SKIMAGE = "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data."
FLICKR = "https://www.flickr.com/photos/"


class Photo(NamedTuple):
    name: str  # of the file in data/demo
    source: str  # a key of DEBIAN or PYTHON
    path: str
    x: int  # the crop's left edge in source pixels,
    y: int  # its top edge,
    width: int  # and its width; its height is three quarters of that
    title: str
    author: str
    licence: str
    address: str


AITZOL = "Aitzol Berasategi"
NERLICH = "Peter Nerlich"
FREESPACE = 'Trevor "Freespace"'
BINDE = "stefonarch (Stef Binde)"
# fmt: off
PHOTOS = [  # file name, source, path and crop; title, author, licence, address
    Photo(
        "apple", "lxqt", "appleflower.png", 950, 400, 1700,
        "appleflower", BINDE, "CC-BY-SA-3.0", LXQT,
    ),
    Photo(
        "astronaut", "skimage", "astronaut.png", 0, 0, 512,
        "Eileen Collins", "NASA", "Public domain", "https://flic.kr/p/r9qvLn",
    ),
    Photo(
        "autumn", "ut16", "aitzgorri_by_Aitzol_Berasategi.jpg", 174, 0, 2740,
        "aitzgorri", AITZOL, "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "bee", "palapeli", "european-honey-bee.jpg", 120, 120, 1400,
        "European Honey Bee", "John Severns", "Public domain",
        COMMONS + "European_honey_bee_extracts_nectar.jpg",
    ),
    Photo(
        "brushes", "ut16", "Picture_1A_by_freespace.jpg", 0, 20, 1364,
        "Picture 1A", FREESPACE, "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "butterfly", "lxqt", "butterfly.png", 650, 450, 1640,
        "butterfly", BINDE, "CC-BY-SA-3.0", LXQT,
    ),
    Photo(
        "cables", "ut16", "Bridge_by_Sander_Klootwijk.jpg", 1500, 640, 2400,
        "Bridge", "Sander Klootwijk", "CC-BY-SA-4.0", LOMIRI,
    ),
    Photo(
        "citrus", "palapeli", "citrus-fruits.jpg", 80, 0, 1184,
        "Citrus Fruits", "US Department of Agriculture", "Public domain",
        COMMONS + "Citrus_fruits.jpg",
    ),
    Photo(
        "clock", "ut16", "greentock_by_Peter_Nerlich.jpg", 300, 300, 2200,
        "greentock", NERLICH, "CC-BY-SA-4.0", LOMIRI,
    ),
    Photo(
        "clouds", "lxqt", "after-the-rain.jpg", 300, 50, 2000,
        "after the rain", BINDE, "CC-BY-SA-3.0", LXQT,
    ),
    Photo(
        "coffee", "skimage", "coffee.png", 34, 0, 532,
        "Coffee cup", "Rachel Michetti", "CC0-1.0", SKIMAGE + "coffee",
    ),
    Photo(
        "dahlia", "sklearn", "flower.jpg", 40, 0, 568,
        "flower", "vultilion", "CC-BY-2.0", FLICKR + "vultilion/6056698931/",
    ),
    Photo(
        "daisies", "jxl", "flower.png", 252, 0, 2016,
        "flower", "the JPEG XL Project Authors", "BSD-3-Clause",
        "https://github.com/libjxl/testdata",
    ),
    Photo(
        "dandelion", "ut16", "seeding_by_Clements_Engelhardt.jpg", 600, 0, 3600,
        "seeding", "Clemens Engelhardt", "CC0-1.0", LOMIRI,
    ),
    Photo(
        "dogs", "ut16", "friends_by_Aitzol_Berasategi.jpg", 200, 740, 1760,
        "friends", AITZOL, "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "dragonfly", "ut16", "Dragonfly_by_Bolly.jpg", 1400, 400, 2400,
        "Dragonfly", '"Bolly"', "CC-BY-SA-4.0", LOMIRI,
    ),
    Photo(
        "drum", "ut16", "Wine_by_Jakkub_Mede.jpg", 0, 1500, 2200,
        "Wine", "Jakub Mede", "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "fig", "ut16", "Picture_0B_by_freespace.jpg", 252, 0, 2320,
        "Picture 0B", FREESPACE, "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "hills", "lxqt", "this-is-not-windows.jpg", 700, 500, 1340,
        "this is not windows", BINDE, "CC-BY-SA-3.0", LXQT,
    ),
    Photo(
        "lamp", "ut16", "free_by_Peter_Nerlich.jpg", 580, 950, 1500,
        "free", NERLICH, "CC-BY-SA-4.0", LOMIRI,
    ),
    Photo(
        "meadow", "lxqt", "flowers.png", 900, 200, 1840,
        "flowers", BINDE, "CC-BY-SA-3.0", LXQT,
    ),
    Photo(
        "nuthatch", "ut20", "Kleiber_by_Lukas_Baubkus.jpg", 1300, 700, 2600,
        "Kleiber", "Lukas Baubkus", "CC-BY-SA-3.0", LOMIRI,
    ),
    Photo(
        "pagoda", "sklearn", "china.jpg", 20, 0, 568,
        "china", "danielbuechele", "CC-BY-2.0", FLICKR + "danielbuechele/6061409035/",
    ),
    Photo(
        "path", "ut16", "picosdeeuropa_by_Aitzol_Berasategi.jpg", 0, 0, 3264,
        "picosdeeuropa", AITZOL, "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "rocket", "skimage", "rocket.jpg", 40, 0, 568,
        "Launch of DSCOVR on Falcon 9", "SpaceX", "Public domain",
        FLICKR + "spacexphotos/16511594820/",
    ),
    Photo(
        "roebling", "palapeli", "cincinnati-bridge.jpg", 20, 0, 1268,
        "Roebling Suspension Bridge", "Derek Jensen", "Public domain",
        COMMONS + "Cincinnati-roebling-suspension-bridge.jpg",
    ),
    Photo(
        "stream", "ut16", "life_by_Aitzol_Berasategi.jpg", 174, 0, 2740,
        "life", AITZOL, "CC-BY-4.0", LOMIRI,
    ),
    Photo(
        "sunset", "ut16", "sunset_by_Aitzol_Berasategi.jpg", 1350, 700, 2800,
        "sunset", AITZOL, "CC-BY-4.0", LOMIRI,
    ),
]
# fmt: on

HEAD = """# The demo photographs: authors and licences

Made from `photos.csv` and `native/photos.csv` by `scripts/make_demo_photos.py` and \
`scripts/make_native_photos.py`; do not edit. Every photograph keeps its own licence, and so
does every distorted copy that the project makes of it: what derives from a CC-BY-SA photograph \
is under that same licence.
The authors endorse neither the project nor what it does to their pictures.

| file | title | author | licence | source | changes |
|---|---|---|---|---|---|
"""


def folders(scratch: Path) -> dict[str, Path]:
    """The folder of every source; Debian packages are downloaded and unpacked under `scratch`."""
    found = {key: Path(find_spec(key).origin).parent / folder for key, folder in PYTHON.items()}
    for key, (package, folder) in DEBIAN.items():
        subprocess.run(["apt-get", "-q", "download", package], cwd=scratch, check=True)
        archive = next(scratch.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive, scratch / key], check=True)
        archive.unlink()
        found[key] = scratch / key / folder
    return found


def to_srgb(image: Image.Image) -> tuple[Image.Image, str]:
    """The picture in sRGB, and the name of the colour space it was in where that was another
    one.
    """
    icc = image.info.get("icc_profile")
    if icc is None:
        return image.convert("RGB"), ""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    name = ImageCms.getProfileDescription(profile).strip()
    if "sRGB" in name:
        return image.convert("RGB"), ""
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB"), name


def make(photo: Photo, folder: Path) -> dict[str, str]:
    """Write one picture; returns its row of photos.csv."""
    height = photo.width * SIZE[1] // SIZE[0]
    box = (photo.x, photo.y, photo.x + photo.width, photo.y + height)
    image, space = to_srgb(Image.open(folder / photo.path))
    assert photo.width >= SIZE[0], f"{photo.name}: never enlarged"
    assert photo.width % 4 == 0, f"{photo.name}: never stretched"
    assert box[2] <= image.width, f"{photo.name}: {box} is outside {image.size}"
    assert box[3] <= image.height, f"{photo.name}: {box} is outside {image.size}"

    reduced = image.resize(SIZE, Image.Resampling.LANCZOS, box=box)
    target = OUT / f"{photo.name}.png"
    without_metadata = Image.frombytes("RGB", SIZE, reduced.tobytes())
    without_metadata.save(target, optimize=True)

    changes = [f"cropped to {photo.width}x{height} at ({photo.x}, {photo.y})"]
    if space:
        changes.append(f"converted from {space} to sRGB")
    if photo.width > SIZE[0]:
        changes.append("reduced to 512x384")
    changes.append("saved as PNG")
    return row_of(photo, target, changes)


def row_of(photo: Photo, target: Path, changes: list[str]) -> dict[str, str]:
    """The row of photos.csv of a written picture, and what was done to its source."""
    return {
        "file": target.name,
        "title": photo.title,
        "author": photo.author,
        "licence": photo.licence,
        "licence_address": LICENCES[photo.licence],
        "source_address": photo.address,
        "changes": ", ".join(changes),
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
    }


def write_rows(rows: list[dict[str, str]], folder: Path) -> None:
    """A folder's photos.csv."""
    with (folder / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def credits_text(bsd: str) -> str:
    """CREDITS.md from photos.csv and native/photos.csv, and the BSD licence, whose text has to
    travel with the picture.
    """
    text = HEAD
    for folder in ("", "native/"):
        table = OUT / folder / "photos.csv"
        if not table.exists():  # the native ones are made after these
            continue
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                licence = f"[{row['licence']}]({row['licence_address']})"
                cells = [folder + row["file"], row["title"], row["author"], licence]
                cells += [f"<{row['source_address']}>", row["changes"]]
                text += f"| {' | '.join(cells)} |\n"
    return text + f"\n## The licence of the daisies\n\n```\n{bsd}\n```\n"


def write_credits(scratch: Path) -> None:
    """CREDITS.md, with the licence that lies in a package unpacked under `scratch`."""
    copyright_file = scratch / "jxl/usr/share/doc/libjxl-testdata/copyright"
    licence = bsd_licence(copyright_file.read_text(encoding="utf-8"))
    (OUT / "CREDITS.md").write_text(credits_text(licence), encoding="utf-8")


def bsd_licence(copyright_file: str) -> str:
    """The licence in Debian's copyright file of the package, without Debian's marks."""
    text = copyright_file.split("License: BSD-3-clause-Google\n Redis")[1].split("License:")[0]
    lines = ["Copyright (c) the JPEG XL Project Authors", ""]
    for line in f"Redis{text}".rstrip().splitlines():
        lines.append("" if line.strip() == "." else line.strip())
    return "\n".join(lines)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = folders(Path(scratch))
        rows = [make(photo, folder[photo.source]) for photo in PHOTOS]
        write_rows(rows, OUT)
        write_credits(Path(scratch))
    for stray in set(OUT.glob("*.png")) - {OUT / row["file"] for row in rows}:
        print(f"not in photos.csv, please remove: {stray.name}")
    megabytes = sum((OUT / row["file"]).stat().st_size for row in rows) / 1e6
    print(f"{len(rows)} photographs, {megabytes:.1f} MB in {OUT.name}")


if __name__ == "__main__":
    main()
