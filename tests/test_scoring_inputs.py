"""One folder of all that turns up in folders: every good picture is scored, every bad one named."""

import io
import os
import struct
import unicodedata
import zlib

import numpy as np
import pytest
import tifffile
from conftest import REPOSITORY
from PIL import Image

from iqa_core.apps import scoring
from iqa_core.apps.scorers import SHIPPED

with Image.open(REPOSITORY / "data/demo/bee.png") as whole:
    PHOTO = whole.convert("RGB").resize((256, 192))
PIXELS = np.asarray(PHOTO)
DEEP = PIXELS.astype(np.uint16) * 257


def saved(name, image=PHOTO, **kwargs):
    """How a picture is put into a folder."""
    return name, lambda path: image.save(path, **kwargs)


def written(name, content):
    return name, lambda path: path.write_bytes(content)


def encoded(kind, image=PHOTO, **kwargs):
    file = io.BytesIO()
    image.save(file, kind, **kwargs)
    return file.getvalue()


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    PHOTO.save(path, exif=exif)


def animated(path):
    PHOTO.save(path, save_all=True, append_images=[PHOTO.rotate(90), PHOTO.rotate(180)])


def of_bytes(path):
    """A name of bytes that are no UTF-8."""
    (path.parent / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded("PNG"))


def bomb():
    """A PNG of 100,000 x 100,000 pixels by its header."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    lengths = [struct.pack(">I", len(chunk) - 4) for chunk in chunks]
    checks = [struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    parts = zip(lengths, chunks, checks, strict=True)
    return b"\x89PNG\r\n\x1a\n" + b"".join(b"".join(part) for part in parts)


LINK = PHOTO.resize((32, 24))
GOOD = dict(
    [
        saved("plain.jpg", quality=90),
        saved("plain.png"),
        saved("UPPER.JPG"),
        saved("progressive.jpeg", progressive=True),
        saved("cmyk.jpg", PHOTO.convert("CMYK")),
        saved("grey.png", PHOTO.convert("L")),
        saved("grey_alpha.png", PHOTO.convert("LA")),
        saved("palette.png", PHOTO.convert("P")),
        saved("two_tones.png", PHOTO.convert("1")),
        saved("alpha.png", PHOTO.convert("RGBA")),
        saved("grey16.png", Image.fromarray(DEEP[..., 0])),
        ("colour16.tif", lambda path: tifffile.imwrite(path, DEEP, photometric="rgb")),
        saved("pages.tiff", save_all=True, append_images=[PHOTO]),
        saved("plain.bmp"),
        saved("plain.ppm"),
        saved("plain.webp"),
        saved("plain.avif"),
        saved("plain.jp2"),
        ("animated.gif", animated),
        ("animated.png", animated),
        ("animated.webp", animated),
        ("turned.jpg", turned),
        written("png_called.jpg", encoded("PNG")),
        written("jpeg_called.png", encoded("JPEG")),
        saved("with space, comma and 'quote'.png"),
        saved("line\nbreak.png"),
        saved("-dash.png"),
        saved("日本語.png"),
        saved(unicodedata.normalize("NFD", "décomposé.png")),
        saved(unicodedata.normalize("NFC", "composé.png")),
        saved("long" * 60 + ".png"),
        ("\\xe9.png", of_bytes),
        saved("one_pixel.png", PHOTO.resize((1, 1))),
        saved("tall.png", PHOTO.resize((10, 400))),
        ("link.png", lambda path: path.symlink_to("plain.png")),
        saved("folder.png.d/deep.png"),
    ]
)
BAD = {
    "zero.jpg": (b"", "it is empty"),
    "cut.jpg": (encoded("JPEG")[:2000], "cannot be decoded"),
    "cut.png": (encoded("PNG")[:2000], "cannot be decoded"),
    "cut.tif": (encoded("TIFF")[:2000], "cannot be decoded"),
    "text.jpg": (b"this is no picture at all", "first bytes are those of none"),
    "page.png": (b"<!DOCTYPE html><html></html>", "first bytes are those of none"),
    "phone.heic": (b"\0\0\0\x18ftypheic", "export it as PNG or TIFF"),
    "heic_called.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIC"),
    "raw.cr2": (b"II*\0", "export it as PNG or TIFF"),
    "layers.psd": (b"8BPS", "export it as PNG or TIFF"),
    "bomb.png": (bomb(), "more than 120 megapixels"),
    "narrow.png": (encoded("PNG", PHOTO.resize((20_000, 10))), "cut it to a shape less extreme"),
    "floats.tif": (
        lambda path: tifffile.imwrite(path, PIXELS / 255.0, photometric="rgb"),
        "nothing says which is",
    ),
    "a_folder.jpg": (lambda path: path.mkdir(), None),  # a folder of pictures, with none in it
    "nowhere.jpg": (lambda path: path.symlink_to("absent.jpg"), "there is no such file"),
    "round.jpg": (lambda path: path.symlink_to("round.jpg"), "symbolic links"),
    "pipe.jpg": (lambda path: os.mkfifo(path), "a pipe, socket or device"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all kinds")
    for name, make in GOOD.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        make(path)
    for name, (content, _) in BAD.items():
        if callable(content):
            content(folder / name)
        else:
            (folder / name).write_bytes(content)
    (folder / "around").symlink_to(folder)
    (folder / "._plain.jpg").write_bytes(b"what another system leaves")
    (folder / "notes.txt").write_text("no picture")
    (folder / os.fsdecode(b"bad\xe9.jpg")).write_bytes(b"damaged")
    if os.geteuid():  # to root nothing is closed
        (folder / "closed.jpg").write_bytes(encoded("JPEG"))
        (folder / "closed.jpg").chmod(0)
    return folder


def test_every_good_picture_is_scored_and_every_bad_one_named(folder, tmp_path):
    out = tmp_path / "scores.csv"
    scores = scoring.score(folder, SHIPPED, save_results=out, progress=False)
    failures = {
        os.path.relpath(failure["image"], folder): failure["reason"]
        for failure in scores.attrs["failures"]
    }
    wanted = {name for name, (_, reason) in BAD.items() if reason}
    wanted |= {"closed.jpg"} if os.geteuid() else set()
    wanted.add("bad\\xe9.jpg")  # in words: its name is no UTF-8
    assert failures.keys() == wanted
    for name, (_, reason) in BAD.items():
        if reason:
            assert reason in failures[name], name
    known = {name.replace("\\xe9.png", "caf\\xe9.png") for name in GOOD}
    good = scores[np.isfinite(scores[SHIPPED])]
    assert {os.path.relpath(image, folder) for image in good.image} == known
    assert len(scores) == len(known) + len(wanted), "a failure keeps its row"
    assert len(GOOD) + len(BAD) > 40
    # Nothing is made up: what differs in the container alone has one score.
    by_name = scores.set_index(scores.image.map(os.path.basename))[SHIPPED]
    for name in ("png_called.jpg", "plain.bmp", "link.png", "caf\\xe9.png"):
        assert by_name[name] == pytest.approx(by_name["plain.png"], abs=1e-3), name
    again = scoring.score(folder, SHIPPED, save_results=out, progress=False)
    assert again.equals(scores)
