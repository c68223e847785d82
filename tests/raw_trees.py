"""Small raw trees in exactly the layouts that the sets are distributed in, each with the table that
must come of it.

A writer puts label files into a folder and returns the rows expected: image and reference relative
to that folder."""

from typing import NamedTuple

import numpy as np
import openpyxl
from PIL import Image
from scipy.io import savemat

from iqa_core.distortions import INTENSITIES


def folder_of(root, name):
    """The folder of a set's files in a project, made."""
    shared = {"flive_patches": "flive", "miqd_cls": "miqd", "miqd_det": "miqd", "miqd_ins": "miqd"}
    folder = root / "data/raw" / shared.get(name, name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Row(NamedTuple):
    image: str
    label: float
    label_std: float = np.nan
    reference: str | float = np.nan
    distortion: str | float = np.nan
    level: float = np.nan
    content: str = ""
    official_split: str = ""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_workbook(folder, name, rows, *, sheet="Sheet1", before=0, indent=0):
    """An .xlsx file: `before` empty rows, `indent` empty columns, then the rows, the header among
    them.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.active.title = "first"
    page = book.active if sheet == "first" else book.create_sheet(sheet, 0)
    for r, row in enumerate(rows, start=before + 1):
        for c, value in enumerate(row, start=indent + 1):
            page.cell(r, c, value)
    book.save(path)


def write_matrix(folder, name, **arrays):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays)


def cells(texts, shape):
    """A MATLAB cell array of texts."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array.reshape(shape)


def write_pictures(folder, paths, *, size=(8, 8)):
    """Small real image files, each of another colour."""
    for k, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (k * 40 % 256, k * 90 % 256, 128)).save(folder / path)


KONIQ = [  # image, votes 1 to 5, MOS, SD, z-score, set
    ("10004473376.jpg", (0, 0, 25, 73, 7), 3.828571429, 0.527277894, 77.38362069, "training"),
    ("10007357496.jpg", (0, 3, 45, 47, 1), 3.479166667, 0.580003025, 68.72857143, "test"),
    ("10009096245.jpg", (0, 0, 21, 75, 13), 3.926605505, 0.556217750, 77.24375, "validation"),
    ("19502065.jpg", (10, 20, 40, 20, 10), 3.0, 1.100963765, 50.5, "training"),
    ("44009500.jpg", (50, 30, 15, 5, 0), 1.75, 0.892082, 15.25, "test"),
]
PARTS = {"training": "train", "validation": "val", "test": "test"}


def koniq10k_scores(folder):
    lines = ["image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore"]
    lines += [
        f"{name},{','.join(map(str, votes))},{sum(votes)},{mos},{sd},{z}"
        for name, votes, mos, sd, z, _ in KONIQ
    ]
    write(folder, "koniq10k_scores_and_distributions.csv", "\n".join(lines) + "\n")


def koniq10k_sets(folder):
    lines = ["image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set"]
    for name, votes, _, sd, z, part in KONIQ:
        shares = ",".join(str(n / sum(votes)) for n in votes)
        lines.append(f"{name},{shares},{sum(votes)},{z},{sd},{part}")
    write(folder, "koniq10k_distributions_sets.csv", "\n".join(lines) + "\n")


def koniq10k(folder):
    koniq10k_scores(folder)
    koniq10k_sets(folder)
    return [Row(f"1024x768/{k[0]}", k[4], content=k[0], official_split=PARTS[k[5]]) for k in KONIQ]


def spaq(folder):
    header = [
        "Image name",
        "MOS",
        "Brightness",
        "Colorfulness",
        "Contrast",
        "Noisiness",
        "Sharpness",
    ]
    rows = [["00001.jpg", 32.56, 44, 52.2, 49, 44, 28.5], ["00002.jpg", 63, 58, 59, 60, 64, 66]]
    write_workbook(folder, "Annotations/MOS and Image attribute scores.xlsx", [header, *rows])
    write_workbook(
        folder,
        "Annotations/Scene category labels.xlsx",
        [["Image name", "Animal"], ["00001.jpg", 0]],
    )
    return [
        Row("TestImage/00001.jpg", 32.56, content="00001.jpg"),
        Row("TestImage/00002.jpg", 63, content="00002.jpg"),
    ]


def _falling(folder, *, contents, types, levels, label):
    return [
        (c, t, lev, round(label(lev) + 0.01 * c, 4))
        for c in contents
        for t in types
        for lev in levels
    ]


def kadid10k(folder, contents=(1, 81)):
    known = {1: "gaussian_blur", 12: "white_noise_color", 25: "contrast_change"}
    rows = _falling(
        folder,
        contents=contents,
        types=known,
        levels=range(1, 6),
        label=lambda level: 4.9 - 0.75 * level,
    )
    lines = [f"I{c:02}_{t:02}_{lev:02}.png,I{c:02}.png,{dmos},0.{lev}7" for c, t, lev, dmos in rows]
    write(folder, "dmos.csv", "\r\n".join(["dist_img,ref_img,dmos,var", *lines]))
    return [
        Row(
            f"images/I{c:02}_{t:02}_{lev:02}.png",
            dmos,
            float(f"0.{lev}7"),
            f"images/I{c:02}.png",
            known[t],
            lev,
            f"i{c:02}",
        )
        for c, t, lev, dmos in rows
    ]


def live_challenge(folder):
    names = [f"t{k}.bmp" for k in range(1, 8)] + ["3.bmp", "5.bmp", "1162.JPG"]
    mos = np.concatenate([np.full(7, 50.0), [63.9634, 25.3353, 48.9366]])
    write_matrix(folder, "Data/AllImages_release.mat", AllImages_release=cells(names, (-1, 1)))
    write_matrix(folder, "Data/AllMOS_release.mat", AllMOS_release=mos[None])
    write_matrix(folder, "Data/AllStdDev_release.mat", AllStdDev_release=mos[None] / 4)
    rows = list(zip(names, mos, strict=True))[7:]
    return [Row(f"Images/{name}", label, label / 4, content=name) for name, label in rows]


def tid2013(folder):
    known = {
        1: "white_noise",
        14: "non_eccentricity_patch",
        15: "color_block",
        24: "sparse_sampling",
    }
    rows = _falling(
        folder, contents=(1, 25), types=known, levels=range(1, 6), label=lambda level: 7.5 - level
    )
    names = [
        f"{'i' if t == 1 else 'I'}{c:02}_{t:02}_{lev}.bmp" for c, t, lev, _ in rows
    ]  # both cases stand in the file
    write(
        folder,
        "mos_with_names.txt",
        "".join(f"{mos:.5f} {name}\r\n" for name, (*_, mos) in zip(names, rows, strict=True)),
    )
    write(folder, "mos_std.txt", "".join(f"0.1{lev}\n" for _, _, lev, _ in rows))
    return [
        Row(
            f"distorted_images/{name}",
            mos,
            float(f"0.1{lev}"),
            f"reference_images/I{c:02}.BMP",
            known[t],
            lev,
            f"i{c:02}",
        )
        for name, (c, t, lev, mos) in zip(names, rows, strict=True)
    ]


LIVE = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def live(folder, *, original=False):
    places = [(kind, number) for kind, rows in LIVE.items() for number in range(1, rows + 1)]
    photos = [f"photo{k % 29:02}.bmp" for k in range(982)]
    orgs = np.array([k % 5 == 4 for k in range(982)], float)
    dmos = np.where(orgs == 1, 0, 20 + np.arange(982) % 80).astype(float)
    if original:
        write_matrix(folder, "dmos.mat", dmos=dmos[None], orgs=orgs[None])
    else:
        dmos[[0, 2]] = 103.5  # a few lie above 100
        write_matrix(
            folder,
            "dmos_realigned.mat",
            dmos_new=dmos[None],
            dmos_std=dmos[None] / 10,
            orgs=orgs[None],
        )
    write_matrix(folder, "refnames_all.mat", refnames_all=cells(photos, (1, -1)))
    return [
        Row(
            f"{kind}/img{number}.bmp",
            100 - dmos[k],
            dmos[k] / 10,
            f"refimgs/{photos[k]}",
            kind,
            np.nan,
            photos[k],
        )
        for k, (kind, number) in enumerate(places)
        if not orgs[k]
    ]


def csiq(folder):
    tokens = {
        "noise": "awgn/{}.AWGN",
        "blur": "blur/{}.BLUR",
        "contrast": "contrast/{}.contrast",
        "fnoise": "fnoise/{}.fnoise",
    }
    tokens |= {"jpeg": "jpeg/{}.JPEG", "jpeg 2000": "jpeg2000/{}.jpeg2000"}
    header, rows, expected = ["image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"], [], []
    for photo in (1600, "aerial_city"):
        for number, (kind, token) in enumerate(tokens.items(), start=1):
            for level in range(1, 4 if kind == "contrast" else 6):
                dmos = round(0.18 * level + 0.01 * number, 3)
                rows.append([photo, number, kind, level, 0.05, dmos])
                distortion, place = (
                    token.split("/")[0],
                    f"dst_imgs/{token.format(photo)}.{level}.png",
                )
                expected.append(
                    Row(
                        place,
                        1 - dmos,
                        0.05,
                        f"src_imgs/{photo}.png",
                        distortion,
                        level,
                        str(photo),
                    )
                )
    write_workbook(
        folder, "csiq.DMOS.xlsx", [header, *rows], sheet="all_by_image", before=3, indent=3
    )
    return expected


def bid(folder):
    rows = [
        ["Image number", "Average grade"],
        [1, 3.5],
        [2, 0],
        [586, 4.9821],
    ]  # it may also be called otherwise
    write_workbook(folder, "DatabaseGrades.xlsx", rows)
    return [
        Row(f"DatabaseImage{n:04}.JPG", label, content=f"DatabaseImage{n:04}.JPG")
        for n, label in rows[1:]
    ]


FLIVE = [
    ("voc_emotic_ava/AVA__1.jpg", 65.4, "train"),
    ("blur_dataset/motion0044.jpg", 75.5, "val"),
    ("EE371R/a b.jpg", 0.0, "test"),
]


def flive(folder, *, patches=False):
    write(
        folder,
        "labels_image.csv",
        "name,mos\n" + "".join(f"{name},{mos}\n" for name, mos, _ in FLIVE),
    )
    valid = "".join(f"{name},{part == 'val'}\n" for name, _, part in FLIVE[:2])
    write(folder, "labels=640_padded.csv", "name_image,is_valid\n" + valid)
    write(
        folder,
        "labels640.csv",
        "mos_patch_1,name_image\n" + "".join(f"7,{n}\n" for n, _, part in FLIVE if part == "test"),
    )
    stems = [name.split("/")[1].rsplit(".", 1)[0].lower() for name, _, _ in FLIVE]
    return [
        Row(name, mos, content=stem, official_split=part)
        for stem, (name, mos, part) in zip(stems, FLIVE, strict=True)
    ]


def flive_patches(folder):
    expected = []
    for row in flive(folder):
        name = row.image.split("/")[1]
        patches = [f"patches/{name}_patch_{k}.jpg" for k in (1, 2)] + [
            f"patches/{name[:-4]}_patch_3.jpg"
        ]  # both are seen
        expected += [
            row._replace(image=patch, label=row.label / 2 + k) for k, patch in enumerate(patches)
        ]
    write(
        folder,
        "labels_patch.csv",
        "name,mos\n" + "".join(f"{row.image},{row.label}\n" for row in expected),
    )
    return expected


def ava(folder):
    votes = {
        953619: (0, 1, 5, 17, 38, 36, 15, 6, 5, 1),
        953958: (10, 7, 15, 26, 26, 21, 10, 8, 1, 2),
        77: (0, 0, 0, 0, 4, 4, 0, 0, 0, 0),
    }
    write(
        folder,
        "AVA.txt",
        "".join(
            f"{k} {i} {' '.join(map(str, v))} 1 22 1396\n"
            for k, (i, v) in enumerate(votes.items(), 1)
        ),
    )
    write(folder, "aesthetics_image_lists/generic_test.jpgl", "953958\n")
    scores = {image: np.repeat(np.arange(1, 11), counts) for image, counts in votes.items()}
    return [
        Row(
            f"images/{image}.jpg",
            np.mean(s),
            np.std(s, ddof=1),
            content=str(image),
            official_split="test" if image == 953958 else "train",
        )
        for image, s in scores.items()
    ]


def pipal(folder):
    expected = []
    for photo in ("A0001", "A0000"):
        rows = [
            (f"{photo}_{group:02}_{kind:02}.bmp", round(1400.5 + group + kind / 10, 4))
            for group in (0, 6)
            for kind in (0, 11)
        ]
        write(folder, f"Train_Label/{photo}.txt", "".join(f"{name},{elo}\n" for name, elo in rows))
        for name, elo in rows:
            kind = name[6:11]
            expected.append(
                Row(
                    f"Train_Dist/{name}",
                    elo,
                    np.nan,
                    f"Train_Ref/{photo}.bmp",
                    kind,
                    np.nan,
                    photo.lower(),
                    "train",
                )
            )
    return sorted(expected)


def agiqa3k(folder):
    lines = ["name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align"]
    lines += [
        "AttnGAN_normal_000.jpg,statue of a man,,,,0.965602553,0.223270101,0.40889324,0.615607722"
    ]
    lines += [
        'sd1.5_lowstep_001.jpg,"a king, realistic style",,,realistic style,5.012,0.404,2.83,0.43'
    ]
    write(folder, "data.csv", "\n".join(lines) + "\n")
    first = Row("AttnGAN_normal_000.jpg", 0.965602553, 0.223270101, content="statue of a man")
    return [first, Row("sd1.5_lowstep_001.jpg", 5.012, 0.404, content="a king, realistic style")]


def csv(folder):
    header = "image,label,reference,content,split,distortion,level,label_std,camera\n"
    lines = "photos/a.jpg,3.5,clean/a.png,hall,train,blur,2.5,.1,X100\nphotos/b.jpg,1,,,test,,,,\n"
    write(folder, "labels.csv", header + lines)
    first = Row("photos/a.jpg", 3.5, 0.1, "clean/a.png", "blur", 2.5, "hall", "train")
    return [first, Row("photos/b.jpg", 1, content="photos/b.jpg", official_split="test")]


def folder(folder):
    write_pictures(folder, ["b.png", "deep/er/a.JPG"])
    write(folder, "readme.txt", "no picture")
    return [Row(name, np.nan, content=name) for name in ("b.png", "deep/er/a.JPG")]


MIQD_TYPES = {  # as published, and as the operators are called
    "contrast": "contrast",
    "darkness": "darkness",
    "pixelate": "miqd_pixelate",
    "jpeg_compression": "jpeg_compression",
    "motion_blur": "miqd_motion_blur",
    "defocus_blur": "defocus_blur",
    "glass_blur": "glass_blur",
    "fog": "fog",
    "snow": "snow",
    "gaussian_noise": "gaussian_noise",
}
MIQD_PLACES = {  # the original, as it is published: part of the lists, "" in neither
    "cls": {
        "ILSVRC2012_val_00000012": "train",
        "ILSVRC2012_val_00000023": "test",
        "ILSVRC2012_val_00037809": "train",
    },
    "det": {
        "000000000139": "train",
        "000000000285": "",
        "000000052891": "test",
        "000000577539": "train",
    },
}


def miqd_versions(original, types):
    """(file name, type, subject's level, background's, region) of an original's images."""
    versions = []
    for kind in types:
        for level, background, region in INTENSITIES:
            place = f"{level}"
            if region != "UD":
                stronger = {"ROI-DD": "fg", "BG-DD": "bg"}[region]
                place = f"{stronger}_stronger_fg{level}_bg{background}"
            name = f"{original}_{kind}_{place}.png"
            versions.append((name, kind, level, background, region))
    return versions


def miqd_labels(level, background):
    """Consistency and accuracy of a pair of levels, within 0 and 1."""
    return round(1 - 0.15 * level - 0.03 * background, 4), round(0.9 - 0.15 * level, 4)


def miqd_lists(folder, task):
    """The lists of train and val; that is called val which tests."""
    for name, part in (("train", "train"), ("val", "test")):
        originals = [each for each, of_part in MIQD_PLACES[task].items() if of_part == part]
        if task == "cls":
            lines = ["Image Name,Category,Quality Score"]
            lines += [f'{original}.JPEG,"great white shark, NA",0.83' for original in originals]
        else:
            lines = ["Image Index", *(str(int(original)) for original in originals)]
        write(folder, f"dataset_splitting/miqa_{task}_{name}.csv", "\n".join(lines) + "\n")


def _miqd_rows(task, types):
    ending = {"cls": "JPEG", "det": "jpg"}[task]
    return [
        Row(
            f"miqa_{task}/images/{original}/{name}",
            sum(miqd_labels(level, background)) / 2,
            np.nan,
            f"miqa_{task}/src_images/{original}.{ending}",
            MIQD_TYPES[kind],
            level,
            original,
            part,
        )
        for original, part in MIQD_PLACES[task].items()
        for name, kind, level, background, _ in miqd_versions(original, types)
    ]


def miqd_cls(folder, types=("pixelate", "jpeg_compression")):
    """Names with their folder for the first original, and without it for the others."""
    for number, original in enumerate(MIQD_PLACES["cls"]):
        lines = ["dist_images,mean_consistency,std_consistency,weighted_consistency"]
        lines[0] += ",mean_accuracy,std_accuracy,weighted_accuracy"
        for name, _, level, background, _ in miqd_versions(original, types):
            consistency, accuracy = miqd_labels(level, background)
            place = name if number else f"{original}/{name}"
            lines.append(f"{place},.5,.1,{consistency},.4,.2,{accuracy}")
        write(folder, f"miqa_cls/labels/{original}_mmos.csv", "\n".join(lines) + "\n")
    miqd_lists(folder, "cls")
    return _miqd_rows("cls", types)


def miqd_det(folder, types=("pixelate", "jpeg_compression"), *, task="det"):
    """The two label files of an original have their rows in opposite orders."""
    for original in MIQD_PLACES["det"]:
        versions = miqd_versions(original, types)
        for number, label in enumerate(("consistency", "accuracy")):
            lines = [f"{v[0]},{miqd_labels(*v[2:4])[number]}" for v in versions]
            if label == "accuracy":
                lines.reverse()
            text = "\n".join(["filename,AP_weighted_avg", *lines]) + "\n"
            write(folder, f"miqa_{task}/labels/{original}_{label}.csv", text)
    miqd_lists(folder, "det")
    return _miqd_rows("det", types)


def miqd_ins(folder, types=("pixelate", "jpeg_compression")):
    return miqd_det(folder, types, task="ins")


WRITERS = {
    f.__name__: f
    for f in (
        koniq10k,
        spaq,
        kadid10k,
        live_challenge,
        tid2013,
        csv,
        folder,
        live,
        csiq,
        bid,
        flive,
        flive_patches,
        ava,
        pipal,
        agiqa3k,
        miqd_cls,
        miqd_det,
        miqd_ins,
    )
}
