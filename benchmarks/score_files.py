"""How the cost of scoring grows with the number of pictures: python benchmarks/score_files.py

1,000, 10,000 and 100,000 small pictures (64 x 64, made of the embedded photographs) are scored by
PSNR, which costs next to nothing, so that what is left is the workbook's own: listing, reading,
keeping rows, writing the result. Prints CPU microseconds a picture and the highest memory of a
process each, and what a second start costs, which scores nothing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (1_000, 10_000, 100_000)
SIDE = 64
CHILD = """
import resource, sys, time
from iqa_core.apps import scoring
folder, out = sys.argv[1:]
start = time.process_time()
scores = scoring.score(folder + "/*/*.png", "psnr", reference=folder + "/reference.png",
                       save_results=out, progress=False)
seconds = time.process_time() - start
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(len(scores), 1e6 * seconds / len(scores), peak)
"""


def make(folder: Path, count: int) -> None:
    """Adds pictures to a folder until there are `count`, a thousand a folder below it."""
    photos = [
        Image.open(path).convert("RGB") for path in sorted((ROOT / "data/demo").glob("*.png"))
    ]
    for number in range(len(list(folder.glob("*/*.png"))), count):
        generator = np.random.default_rng(number)
        photo = photos[number % len(photos)]
        left, top = generator.integers(0, [photo.width - SIDE, photo.height - SIDE])
        below = folder / f"{number // 1000:03d}"
        below.mkdir(exist_ok=True)
        crop = photo.crop((left, top, left + SIDE, top + SIDE))
        crop.save(below / f"{number % 1000:03d}.png", compress_level=1)
        if number == 0:
            crop.save(folder / "reference.png")


def main() -> None:
    print("pictures   µs a picture   second start   peak MB")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        folder.mkdir()
        for count in COUNTS:
            make(folder, count)
            rows = []
            for _ in range(2):
                words = [sys.executable, "-c", CHILD, folder, f"{temporary}/{count}.csv"]
                done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT)
                rows.append([float(value) for value in done.stdout.split()])
            (n, first, peak), (_, second, _) = rows
            print(f"{n:8.0f}   {first:12.0f}   {second:12.0f}   {peak:7.0f}", flush=True)


if __name__ == "__main__":
    main()
