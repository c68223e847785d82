import hashlib
from pathlib import Path

import pandas as pd
import pytest

from iqa_core import datasets, splits
from iqa_core.files import file_hash

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def table():
    return datasets.load_table("demo", root=ROOT)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_committed_splits_are_the_rule_s_and_no_content_crosses(table, number):
    path = ROOT / f"data/splits/demo-rotation{number}.csv"
    made, saved = splits.rotation(table, number), splits.load_split(path, table)
    assert (made.split.to_numpy() == saved.to_numpy()).all()
    assert not splits.crossing_contents(table, saved)
    assert table.content[saved == "val"].nunique() == 4
    other = splits.rotation(table.sample(frac=1, random_state=number), number).set_index("image").split
    assert (other[table.image].to_numpy() == saved.to_numpy()).all(), "the order of rows must not matter"


def test_the_rule_is_the_sha256_of_file_names_dealt_in_turn(table):
    order = sorted(table.reference.unique(), key=lambda path: hashlib.sha256(Path(path).name.encode()).hexdigest())
    contents = [Path(path).stem for path in order]
    parts = splits.rotation(table, 2).split
    assert set(table.content[parts == "test"]) == set(contents[1::4])
    assert set(table.content[parts == "val"]) == set(contents[2::4][:4])


def test_the_rotations_test_every_content_once(table):
    tested = [c for k in range(1, 5) for c in table.content[splits.rotation(table, k).split == "test"].unique()]
    assert sorted(tested) == sorted(table.content.unique())


def small(contents=12):
    names = [f"{c:02d}-{k}" for c in range(contents) for k in range(2)]
    return pd.DataFrame({"image": names, "content": [n[:2] for n in names]})


def test_splits_that_do_not_fit_are_refused(tmp_path):
    table, path = small(), tmp_path / "s.csv"
    good = splits.rotation(table, 1)

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
        splits.rotation(small(), 5)
    with pytest.raises(ValueError, match="7 contents are too few"):
        splits.rotation(small(7), 1)
