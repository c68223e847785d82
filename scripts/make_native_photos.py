"""Make the photographs of several sizes and shapes in data/demo/native, from the same sources as
those of data/demo: python scripts/make_native_photos.py

Each is a crop around the middle of the demo's, of about its area, in a shape and size of its own,
never enlarged, as WebP; authors and licences are in photos.csv and, for people, in
data/demo/CREDITS.md. Nothing else needs this script: its results are tracked. Run it on Debian 12.
"""

import tempfile
from pathlib import Path

import make_demo_photos
from make_demo_photos import PHOTOS, Photo, row_of, to_srgb
from PIL import Image

OUT = make_demo_photos.OUT / "native"
# Width : height, and the longer side, pixels; 8 and 7 share no factor, so no shape meets the same
# size twice. A source that is smaller gives what it has.
SHAPES = [(4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16), (1, 1), (2, 1)]
SIDES = [1024, 448, 768, 576, 896, 640, 384]


def box_of(photo: Photo, size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, ...]:
    """(left, top, right, bottom) of a crop of that shape in a source image of that size."""
    area = photo.width * photo.width * 3 / 4
    width = min((area * shape[0] / shape[1]) ** 0.5, size[0], size[1] * shape[0] / shape[1])
    width, height = int(width), int(width * shape[1] / shape[0])
    left = photo.x + photo.width / 2 - width / 2
    top = photo.y + photo.width * 3 / 8 - height / 2
    left = int(min(max(left, 0), size[0] - width))
    top = int(min(max(top, 0), size[1] - height))
    return left, top, left + width, top + height


def make(number: int, photo: Photo, folder: Path) -> dict[str, str]:
    """Write one picture; returns its row of photos.csv."""
    shape, side = SHAPES[number % len(SHAPES)], SIDES[number % len(SIDES)]
    image, space = to_srgb(Image.open(folder / photo.path))
    box = box_of(photo, image.size, shape)
    width, height = box[2] - box[0], box[3] - box[1]
    share = min(1, side / max(width, height))
    size = round(width * share), round(height * share)
    reduced = image.resize(size, Image.Resampling.LANCZOS, box=box)
    target = OUT / f"{photo.name}.webp"
    Image.frombytes("RGB", size, reduced.tobytes()).save(target, quality=95, method=6)

    changes = [f"cropped to {width}x{height} at ({box[0]}, {box[1]})"]
    if space:
        changes.append(f"converted from {space} to sRGB")
    if share < 1:
        changes.append(f"reduced to {size[0]}x{size[1]}")
    changes.append("saved as WebP")
    return row_of(photo, target, changes)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_demo_photos.folders(Path(scratch))
        rows = [make(k, photo, folder[photo.source]) for k, photo in enumerate(PHOTOS)]
        make_demo_photos.write_rows(rows, OUT)
        make_demo_photos.write_credits(Path(scratch))
    megabytes = sum(file.stat().st_size for file in OUT.iterdir()) / 1e6
    print(f"{len(rows)} photographs, {megabytes:.1f} MB in {OUT.name}")


if __name__ == "__main__":
    main()
