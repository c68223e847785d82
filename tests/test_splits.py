import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import raw_trees

from iqa_core import datasets, splits
from iqa_core.files import file_hash

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def table():
    return datasets.load_table("demo", root=ROOT)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_committed_splits_are_the_rule_s_and_no_content_crosses(table, number):
    path = ROOT / f"data/splits/demo-rotation{number}.csv"
    made, saved = splits.make_split(table, f"rotation{number}"), splits.load_split(path, table)
    assert (made.split.to_numpy() == saved.to_numpy()).all()
    assert not splits.crossing_contents(table, saved)
    assert table.content[saved == "val"].nunique() == 4
    other = (
        splits.make_split(table.sample(frac=1, random_state=number), f"rotation{number}")
        .set_index("image")
        .split
    )
    assert (other[table.image].to_numpy() == saved.to_numpy()).all(), (
        "the order of rows must not matter"
    )


def test_the_rule_is_the_sha256_of_file_names_dealt_in_turn(table):
    order = sorted(
        table.reference.unique(),
        key=lambda path: hashlib.sha256(Path(path).name.encode()).hexdigest(),
    )
    contents = [Path(path).stem for path in order]
    parts = splits.make_split(table, "rotation2").split
    assert set(table.content[parts == "test"]) == set(contents[1::4])
    assert set(table.content[parts == "val"]) == set(contents[2::4][:4])


def test_the_rotations_test_every_content_once(table):
    tested = [
        c
        for k in range(1, 5)
        for c in table.content[splits.make_split(table, f"rotation{k}").split == "test"].unique()
    ]
    assert sorted(tested) == sorted(table.content.unique())


def test_rotations_of_references_of_one_name_do_not_hang_on_the_order_of_rows():
    table = small().assign(reference=lambda rows: rows.content + "/ref.png")
    first, other = (
        splits.make_split(rows, "rotation1").set_index("image").split
        for rows in (table, table[::-1])
    )
    assert (first == other[first.index]).all()


def small(contents=12):
    names = [f"{c:02d}-{k}" for c in range(contents) for k in range(2)]
    return pd.DataFrame({"image": names, "content": [n[:2] for n in names]})


def test_splits_that_do_not_fit_are_refused(tmp_path):
    table, path = small(), tmp_path / "s.csv"
    good = splits.make_split(table, "rotation1")

    def saved(split):
        splits.save_split(split, path)
        return splits.load_split(path, table)

    assert saved(good).tolist() == good.split.tolist()
    assert splits.save_split(good, path) == file_hash(path) != splits.save_split(good[::-1], path)
    stranger = pd.concat([good, pd.DataFrame({"image": ["zz"], "split": ["test"]})])
    with pytest.raises(ValueError, match="names zz, which the table lacks"):
        saved(stranger)
    with pytest.raises(ValueError, match="more than once"):
        saved(pd.concat([good, good[:1]]))
    with pytest.raises(ValueError, match="parts dev; allowed are train, val, test"):
        saved(good.assign(split=good.split.replace("val", "dev")))
    with pytest.raises(ValueError, match="has no val images"):
        saved(good[good.split != "val"])
    crossing = good.copy()
    crossing.loc[crossing.index[crossing.split == "test"][0], "split"] = "train"
    with pytest.raises(ValueError, match="divides .* between parts"):
        saved(crossing)
    with pytest.raises(FileNotFoundError, match="01_prepare_data writes it"):
        splits.load_split(tmp_path / "none.csv", table)
    pd.DataFrame({"file": ["a"]}).to_csv(path)
    with pytest.raises(ValueError, match="has no column image, split"):
        splits.load_split(path, table)


def test_rotations_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="rotation is 5; it runs from 1 to 4"):
        splits.make_split(small(), "rotation5")
    with pytest.raises(ValueError, match="5 contents are too few"):
        splits.make_split(small(5), "rotation1")


def test_few_contents_validate_on_a_quarter_of_the_others():
    """13 contents in four parts: 3 or 4 tested, of the others 2 are val; 28 as ever 4."""
    for contents, val in ((13, 2), (28, 4), (80, 6)):
        table = small(contents)
        split = splits.make_split(table, "rotation1").merge(table, on="image")
        assert split[split.split == "val"].content.nunique() == val


def parts_of(table, scheme):
    """The part of every row, NaN where the scheme leaves it out."""
    split = splits.make_split(table, scheme)
    assert list(split) == ["image", "split"] and set(split.split) == set(splits.PARTS)
    return table.image.map(split.set_index("image").split)


def kadid(contents=20, kinds=("blur", "noise", "jpeg")):
    rows = [(f"I{c:02d}_{kind}.png", f"I{c:02d}", kind) for c in range(contents) for kind in kinds]
    return pd.DataFrame(rows, columns=["image", "content", "distortion"])


def pipal(contents=40):
    types = {"00": 12, "01": 16, "02": 10, "03": 24, "04": 13, "05": 14, "06": 27}
    names = [
        f"A{c:04d}_{group}_{k:02d}.bmp"
        for c in range(contents)
        for group in types
        for k in range(types[group])
    ]
    return pd.DataFrame({"image": names, "content": [name[:5] for name in names]})


SEEDED = ["random80", "random70", "ckdn", "leave-blur-out"]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_make_split_gives_the_committed_rotations(table, number, tmp_path):
    path = tmp_path / "split.csv"
    splits.save_split(splits.make_split(table, f"rotation{number}"), path)
    assert path.read_bytes() == (ROOT / f"data/splits/demo-rotation{number}.csv").read_bytes()


@pytest.mark.parametrize("name", SEEDED)
def test_ten_seeds_differ_and_the_order_of_rows_and_further_columns_do_not_matter(name):
    table = pipal() if name == "ckdn" else kadid(40)
    made = [parts_of(table, f"{name}-{seed}") for seed in range(10)]
    assert len({tuple(part.fillna("")) for part in made}) == 10
    shuffled = table.sample(frac=1, random_state=0).assign(label=1.0)
    again = splits.make_split(shuffled, f"{name}-3").set_index("image").split.reindex(table.image)
    assert again.fillna("").tolist() == made[3].fillna("").tolist()
    assert not splits.crossing_contents(table, made[3])


@pytest.mark.parametrize(
    ("contents", "train", "val", "test"),
    [(25, 18, 2, 5), (29, 21, 2, 6), (81, 59, 6, 16), (5, 3, 1, 1)],
)
def test_random80_tests_a_fifth_of_the_contents_and_validates_inside_the_rest(
    contents, train, val, test
):
    table = kadid(contents)
    part = parts_of(table, "random80-1")
    assert table.content.groupby(part).nunique().to_dict() == {
        "train": train,
        "val": val,
        "test": test,
    }
    assert part.notna().all()
    same = parts_of(table, "random70-1")
    assert ((same == "test") == (part == "test")).all()


def test_random70_is_70_10_20_by_image_where_there_is_no_content():
    table = pd.DataFrame({"image": [f"{i}.jpg" for i in range(1000)]})
    assert parts_of(table, "random70-0").value_counts().to_dict() == {
        "train": 700,
        "test": 200,
        "val": 100,
    }
    some_named = table.assign(content=[f"c{i}" if i < 100 else None for i in np.arange(1000) // 2])
    part = parts_of(some_named, "random70-0")
    assert part.notna().all() and not splits.crossing_contents(some_named, part)


def test_rotations_of_any_table_test_every_image_once():
    table = pd.DataFrame({"image": [f"{i}.jpg" for i in range(100)], "reference": [None, ""] * 50})
    parts = [parts_of(table, f"rotation{k}of5") for k in range(1, 6)]
    assert (sum((part == "test").astype(int) for part in parts) == 1).all()
    assert all((part == "val").sum() == 8 for part in parts)
    assert (parts_of(table, "rotation2of4") == parts_of(table, "rotation2")).all()


def test_official_is_taken_as_it_is_and_gets_a_val_where_it_has_none():
    table = kadid(20).assign(
        official_split=["train"] * 30 + ["val"] * 6 + ["test"] * 21 + ["", None, ""]
    )
    part = parts_of(table, "official")
    assert part[:57].tolist() == table.official_split[:57].tolist() and part[57:].isna().all()
    table["official_split"] = table.official_split.replace("val", "train")
    part = parts_of(table, "official")
    assert (
        (part[:36] != "test").all() and (part == "val").sum() == 3 and (part[36:57] == "test").all()
    )
    assert not splits.crossing_contents(table, part)
    with pytest.raises(ValueError, match="divides I00 between parts"):
        splits.make_split(
            table.assign(official_split=["val", *table.official_split[1:]]), "official"
        )


def test_qalign_is_the_column_of_that_name():
    table = kadid(20).assign(
        official_split="", qalign_split=["train"] * 30 + ["val"] * 9 + ["test"] * 21
    )
    assert parts_of(table, "qalign").tolist() == table.qalign_split.tolist()


def test_contents_from_one_name_to_another_test():
    names = [f"I{photo:02}_{kind:02}.png" for photo in range(1, 82) for kind in range(125)]
    kadid10k = pd.DataFrame({"image": names, "content": [name[:3] for name in names]})
    part = parts_of(kadid10k, "contents-I66-I81")
    assert (part == "test").sum() == 2000
    assert set(kadid10k.content[part == "test"]) == {f"I{photo}" for photo in range(66, 82)}
    assert kadid10k.content[part == "val"].nunique() == 6  # a tenth of the other 65
    assert not splits.crossing_contents(kadid10k, part)
    shuffled = kadid10k.sample(frac=1, random_state=0)
    assert parts_of(shuffled, "contents-I66-I81").sort_index().equals(part)


def test_the_contents_that_others_tested_on_are_those_of_the_set_as_it_is_read(tmp_path):
    raw_trees.kadid10k(raw_trees.folder_of(tmp_path, "kadid10k"), contents=range(1, 82))
    table = datasets.load_table("kadid10k", root=tmp_path)
    part = parts_of(table, "contents-I66-I81")
    photos = table.reference[part == "test"].map(lambda path: Path(path).stem)
    assert set(photos) == {f"I{photo}" for photo in range(66, 82)}
    assert part.equals(parts_of(table, "contents-i66-i81")) and part.notna().all()


def test_ckdn_trains_and_tests_on_other_types_and_other_contents():
    table = pipal(200)
    part, types = parts_of(table, "ckdn-0"), table.image.str[6:11]
    train, val, test = (part == name for name in splits.PARTS)
    assert (train.sum(), val.sum(), test.sum()) == (157 * 50, 18 * 39, 25 * 39)
    assert set(types[train]).isdisjoint(types[val | test]) and set(types[val]) == set(types[test])
    assert not splits.crossing_contents(table, part)
    assert types[train].drop_duplicates().str[:2].value_counts().to_dict() == splits.CKDN_TYPES
    assert part[types.str.startswith("06")].isna().all()


def test_a_left_out_distortion_is_in_test_alone_also_as_the_second():
    table = kadid(20).assign(distortion2=[None, "blur", None] * 20)
    part = parts_of(table, "leave-blur-out-2")
    blurred = table.distortion.isin(["blur", "noise"])  # noise here comes with blur
    assert set(part[blurred].dropna()) == {"test"} and set(part[~blurred].dropna()) == {
        "train",
        "val",
    }
    contents = parts_of(kadid(20), "random80-2")
    assert (part.dropna() == contents[part.notna()]).all()
    assert (part.notna() == (blurred == (contents == "test"))).all()
    assert parts_of(table, "leave-blur-out").equals(parts_of(table, "leave-blur-out-0"))


def test_every_scheme_is_listed_with_what_it_does():
    listed = splits.list_schemes()
    assert list(listed) == list(splits.SCHEMES) and all(len(text) > 40 for text in listed.values())
    table = (
        kadid(40)
        .assign(official_split=["train"] * 60 + ["test"] * 60)
        .assign(qalign_split=lambda table: table.official_split)
    )
    for written in listed:
        scheme = (
            re.sub("<seed>|<k>", "1", written).replace("<n>", "3").replace("<distortion>", "jpeg")
        )
        scheme = scheme.replace("<first>", "I30").replace("<last>", "I39")
        parts_of(pipal() if "ckdn" in written else table, scheme)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (
            "random-1",
            "no split scheme 'random-1'; did you mean 'random80-<seed>'. There are official, "
            "rotation<k>, .*leave-<distortion>-out-<seed>",
        ),
        ("random80", "no split scheme 'random80'"),
        ("random80-1.csv", "no split scheme"),
        (
            "official",
            "column official_split names no train and test images; use random80-<seed> or "
            "rotation<k>",
        ),
        ("qalign", "column qalign_split names no train and test"),
        ("ckdn-0", "ckdn splits PIPAL, with images like A0001_03_07.bmp, not I00_blur.png"),
        ("contents-I01-I99", "no content 'I99'.* There are I00 to I19"),
        ("contents-I09-I01", "has no test images; give each part at least one"),
        ("contents-I00-I19", "has no train, val images; give each part at least one"),
        ("leave-fog-out", "no distortion 'fog' to leave out; the table has blur, jpeg, noise"),
        ("rotation5", "rotation is 5; it runs from 1 to 4"),
        ("rotation1of0", "rotation is 1; it runs from 1 to 0"),
        ("rotation1of30", "20 contents are too few for 30 parts"),
    ],
)
def test_schemes_that_do_not_fit_are_refused(scheme, message):
    with pytest.raises(ValueError, match=message):
        splits.make_split(kadid(20), scheme)


def test_two_contents_are_too_few():
    with pytest.raises(
        ValueError, match="split random80-0 has no .* images; give each part at least one"
    ):
        splits.make_split(kadid(2), "random80-0")
    with pytest.raises(ValueError, match="no distortion 'blur' to leave out; the table has none"):
        splits.make_split(small(), "leave-blur-out")
