"""Every set as published, read to the exact table; two labels in two files; faults that are planted
and must be named.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import raw_trees
from raw_trees import folder_of

from iqa_core import datasets
from iqa_core.datasets.readers import CONTRACT

SETS = sorted(raw_trees.WRITERS)


def expected_table(rows, name, *, inside):
    table = pd.DataFrame(rows)
    place = lambda path: path if path != path else f"{inside}/{path}"  # noqa: E731
    return table.assign(image=table.image.map(place), reference=table.reference.map(place)).astype(
        {"level": float, "label": float}
    )


def check_rows(table, rows, name, *, inside):
    columns = list(raw_trees.Row._fields)
    pd.testing.assert_frame_equal(
        table[columns], expected_table(rows, name, inside=inside), check_dtype=False, atol=1e-6
    )
    assert set(table.label_kind) == {datasets.describe(name)["label_kind"]}


@pytest.mark.parametrize("name", SETS)
def test_a_published_tree_is_read_to_the_exact_table(name, tmp_path):
    folder = folder_of(tmp_path, name)
    rows = raw_trees.WRITERS[name](folder)
    table = datasets.load_table(name, root=tmp_path)
    check_rows(table, rows, name, inside=folder.relative_to(tmp_path))
    facts = datasets.describe(name, root=tmp_path)
    assert facts["absent"] == []
    if facts["low"] is not None and name not in ("live", "agiqa3k"):
        assert table.label.between(facts["low"], facts["high"]).all()


@pytest.mark.parametrize("name", SETS)
def test_archives_that_nest_and_mirrors_that_change_letter_case(name, tmp_path):
    """Images are found as they lie: one folder deeper, in upper case."""
    folder = folder_of(tmp_path, name)
    if name in ("csv", "folder"):  # their paths are as the user wrote them
        return
    rows = raw_trees.WRITERS[name](folder / "Release 2" / "release")
    places = {
        path: f"Release 2/release/{path.upper()}"
        for row in rows
        for path in (row.image, row.reference)
        if path == path
    }
    for place in places.values():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
    moved = [
        row._replace(image=places[row.image], reference=places.get(row.reference, np.nan))
        for row in rows
    ]
    check_rows(
        datasets.load_table(name, root=tmp_path), moved, name, inside=folder.relative_to(tmp_path)
    )


@pytest.mark.parametrize("name", SETS)
def test_a_table_that_was_saved_comes_back(name, tmp_path):
    raw_trees.WRITERS[name](folder_of(tmp_path, name))
    table = datasets.load_table(name, root=tmp_path)
    (tmp_path / "data/tables").mkdir()
    table.to_csv(tmp_path / f"data/tables/{name}.csv", index=False)
    saved = datasets.saved_table(name, root=tmp_path)
    assert list(saved) == list(table)
    pd.testing.assert_frame_equal(saved[CONTRACT], table[CONTRACT])


def test_names_like_numbers_and_like_nothing_come_back_as_they_were(tmp_path):
    raw_trees.write(
        folder_of(tmp_path, "mine"),
        "labels.csv",
        "image,label,content,distortion\n1,1,007,NA\n2,2,7,\n3,3,NA,None\n",
    )
    table = datasets.load_table("mine", root=tmp_path)
    (tmp_path / "data/tables").mkdir()
    table.to_csv(tmp_path / "data/tables/mine.csv", index=False)
    saved = datasets.saved_table("mine", root=tmp_path)
    assert list(saved.content) == ["007", "7", "NA"] and list(saved.distortion.fillna("")) == [
        "NA",
        "",
        "None",
    ]
    pd.testing.assert_frame_equal(saved[CONTRACT], table[CONTRACT])


@pytest.mark.parametrize("place", ["", "kadid10k"])
def test_a_root_that_is_no_project_holds_the_set_itself(place, tmp_path):
    rows = raw_trees.kadid10k(tmp_path / place)
    table = datasets.load_table("kadid10k", root=tmp_path)
    assert table.image.iloc[0] == (Path(place) / rows[0].image).as_posix()
    assert datasets.describe("kadid10k", root=tmp_path)["folder"] == tmp_path / place
    raw_trees.pipal(tmp_path / place)
    assert datasets.describe("pipal", root=tmp_path)["folder"] == (
        tmp_path / "data/raw/pipal" if place else tmp_path
    )


# KonIQ-10k: two labels in two files


@pytest.mark.parametrize("files", [("scores",), ("sets",), ("scores", "sets")])
def test_koniq_labels_keep_their_units_whichever_file_is_there(files, tmp_path):
    for file in files:
        getattr(raw_trees, f"koniq10k_{file}")(folder_of(tmp_path, "koniq10k"))
    zscore, mos = (
        datasets.load_table("koniq10k", root=tmp_path, label=label) for label in ("zscore", "mos")
    )
    np.testing.assert_allclose(zscore.label, [k[4] for k in raw_trees.KONIQ])
    np.testing.assert_allclose(mos.label, [k[2] for k in raw_trees.KONIQ], atol=1e-6)
    np.testing.assert_allclose(mos.label_std, [k[3] for k in raw_trees.KONIQ])
    assert zscore.label_std.isna().all(), "the published SD is in units of the 1 to 5 scale"
    np.testing.assert_allclose(zscore.mos, mos.label)
    np.testing.assert_allclose(mos.zscore, zscore.label)
    parts = ["train", "test", "val", "train", "test"] if "sets" in files else [""] * 5
    assert list(mos.official_split) == parts
    assert list(mos.qalign_split) == ([*parts[:3], "", ""] if "sets" in files else parts)
    absent = {"scores", "sets"} - {*files}
    assert len(mos.attrs["notes"]) == len(absent)
    assert all("is not there; it would give" in note for note in mos.attrs["notes"])
    facts = datasets.describe("koniq10k", root=tmp_path)
    assert facts["absent"] == []
    assert {label: (c["low"], c["high"]) for label, c in facts["labels"].items()} == {
        "zscore": (0, 100),
        "mos": (1, 5),
    }


def test_koniq_reads_the_size_that_is_there(tmp_path):
    folder = folder_of(tmp_path, "koniq10k")
    rows = raw_trees.koniq10k(folder)
    raw_trees.write_pictures(folder, [row.image.replace("1024x768", "512x384") for row in rows])
    (folder / "1024x768").mkdir()
    (folder / rows[0].image).touch()
    images = datasets.load_table("koniq10k", root=tmp_path).image
    assert images.str.startswith("data/raw/koniq10k/512x384/").all(), "never two sizes in one table"


def test_koniq_files_that_disagree_are_refused(tmp_path):
    folder = folder_of(tmp_path, "koniq10k")
    raw_trees.koniq10k(folder)
    path = folder / "koniq10k_distributions_sets.csv"
    whole = path.read_text()
    path.write_text(whole.replace("77.38362069", "15.0"))
    with pytest.raises(
        ValueError,
        match=(
            r"sets.csv says that zscore of 10004473376.jpg is 15.0, not 77.38362069.*wrong "
            r"images"
        ),
    ):
        datasets.load_table("koniq10k", root=tmp_path)
    path.write_text(whole.replace("training", "train-ing"))
    with pytest.raises(ValueError, match="is put into train-ing; allowed are train, val, test"):
        datasets.load_table("koniq10k", root=tmp_path)
    path.write_text("\n".join(line.replace(".jpg", "0.jpg", 1) for line in whole.splitlines()))
    with pytest.raises(
        ValueError,
        match="5 of 5 images of koniq10k_distributions_sets.csv are in no label file.*another set",
    ):
        datasets.load_table("koniq10k", root=tmp_path)
    path.write_text(whole + whole.splitlines()[1])
    with pytest.raises(ValueError, match="lists 10004473376.jpg twice"):
        datasets.load_table("koniq10k", root=tmp_path)


@pytest.mark.parametrize(("far", "refused"), [(0.4, False), (1.2, True)])  # of a range of 62
def test_what_two_files_may_differ_by(far, refused, tmp_path):
    folder = folder_of(tmp_path, "koniq10k")
    raw_trees.koniq10k(folder)
    path = folder / "koniq10k_distributions_sets.csv"
    path.write_text(path.read_text().replace("77.24375", str(77.24375 + far)))
    if refused:
        with pytest.raises(
            ValueError, match="sets.csv says that zscore of 10009096245.jpg is 78.4"
        ):
            datasets.load_table("koniq10k", root=tmp_path)
    else:
        table = datasets.load_table("koniq10k", root=tmp_path)
        assert table.label[2] == 77.24375 + far and table.attrs["notes"] == [], (
            "the later file holds"
        )


@pytest.mark.parametrize(("strange", "refused"), [(2, False), (3, True)])
def test_some_images_of_a_later_file_may_be_in_no_other(strange, refused, tmp_path):
    folder = folder_of(tmp_path, "koniq10k")
    raw_trees.koniq10k(folder)
    path = folder / "koniq10k_distributions_sets.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([header, *("x" * (k < strange) + line for k, line in enumerate(lines))])
    )
    if refused:
        with pytest.raises(
            ValueError,
            match="3 of 5 images of .*sets.csv are in no label file before it: x1.*of another set",
        ):
            datasets.load_table("koniq10k", root=tmp_path)
        return
    strangers, lacking = datasets.load_table("koniq10k", root=tmp_path).attrs["notes"]
    assert (
        "2 of 5 images of koniq10k_distributions_sets.csv are in no label file before it: "
        "x10004473376.jpg" in strangers
    )
    assert (
        lacking
        == "koniq10k_distributions_sets.csv lacks 2 of 5 images: 10004473376.jpg, 10007357496.jpg"
    )


def test_koniq_labels_on_the_wrong_rows_contradict_their_votes(tmp_path):
    raw_trees.koniq10k_scores(folder_of(tmp_path, "koniq10k"))
    path = folder_of(tmp_path, "koniq10k") / "koniq10k_scores_and_distributions.csv"
    scores = pd.read_csv(path)
    scores.assign(MOS=np.roll(scores.MOS, 1)).to_csv(path, index=False)
    with pytest.raises(
        ValueError, match="the mean vote says that mos of .* labels joined to the wrong images"
    ):
        datasets.load_table("koniq10k", root=tmp_path)


def test_z_scores_in_the_column_of_mos_are_out_of_range(tmp_path):
    folder = folder_of(tmp_path, "mine")
    raw_trees.koniq10k_sets(folder)
    columns = "{image: image_name, label: MOS}"
    raw_trees.write(
        folder,
        "set.yaml",
        f"files: [{{file: koniq10k_distributions_sets.csv, columns: {columns}}}]\nlow: 1\nhigh: "
        f"5\n",
    )
    with pytest.raises(
        ValueError,
        match=(
            r"label of 10004473376.jpg is 77.3836; 5 of 5 labels lie outside 1 to 5: another "
            r"column"
        ),
    ):
        datasets.load_table("mine", root=tmp_path)


# files joined


def mine(root, description, **files):
    """The table of a set of two label files, a.csv and b.csv."""
    folder = folder_of(root, "mine")
    raw_trees.write(folder, "set.yaml", description)
    for name, text in files.items():
        raw_trees.write(folder, f"{name}.csv", text)
    return datasets.load_table("mine", root=root)


def test_the_later_text_holds_but_an_empty_one_and_differences_are_noted(tmp_path):
    columns = "{image: image, content: content, official_split: split}"
    join = f"files: [{{file: a.csv}}, {{file: b.csv, columns: {columns}}}]\n"
    first = "image,label,content,split\na,1,hall,train\nb,2,yard,test\nc,3,,\n"
    table = mine(tmp_path, join, a=first, b="image,content,split\na,hall,test\nb,,\nc,lane,val\n")
    assert list(table.content) == ["hall", "yard", "lane"] and list(table.official_split) == [
        "test",
        "test",
        "val",
    ]
    assert table.attrs["notes"] == [
        "official_split is told twice and differs for 1 of 3 images: test is taken, not train"
    ]


def test_the_test_list_of_flive_goes_before_its_other_parts(tmp_path):
    raw_trees.flive(folder_of(tmp_path, "flive"))
    raw_trees.write(
        folder_of(tmp_path, "flive"), "labels640.csv", f"name_image\n{raw_trees.FLIVE[1][0]}\n"
    )
    table = datasets.load_table("flive", root=tmp_path)
    assert list(table.official_split) == ["train", "test", "train"]
    assert table.attrs["notes"] == [
        "labels=640_padded.csv lacks 1 of 3 images: EE371R/a b.jpg",
        "official_split is told twice and differs for 1 of 3 images: test is taken, not val",
    ]


def test_photographs_whose_patches_alone_are_there(tmp_path):
    rows = raw_trees.flive_patches(folder_of(tmp_path, "flive"))
    raw_trees.write_pictures(folder_of(tmp_path, "flive"), [row.image for row in rows])
    for name, number in (("flive", 3), ("flive_patches", 9)):
        assert len(datasets.load_table(name, root=tmp_path)) == number


def test_without_the_list_of_a_part_there_are_no_parts(tmp_path):
    raw_trees.ava(folder_of(tmp_path, "ava"))
    (folder_of(tmp_path, "ava") / "aesthetics_image_lists/generic_test.jpgl").unlink()
    assert set(datasets.load_table("ava", root=tmp_path).official_split) == {""}


def test_shares_of_votes_have_a_mean_but_no_deviation(tmp_path):
    description = "files: [{file: a.csv, columns: {image: image, c1: c1, c2: c2}}]\nvotes: label\n"
    table = mine(tmp_path, description, a="image,c1,c2\na,.25,.75\nb,1,0\n")
    assert list(table.label) == [1.75, 1] and table.label_std.isna().all()


def test_a_column_label_that_is_not_chosen_is_left(tmp_path):
    description = "files: [{file: a.csv}]\nlabels: {q: {std: ''}}\n"
    table = mine(tmp_path, description, a="image,label,label_std,q\na,1,9,5\nb,2,9,6\n")
    assert list(table.label) == [5, 6] and table.label_std.isna().all()


# direction and planted faults


def test_dmos_is_turned_round_and_says_so(tmp_path):
    raw_trees.csiq(folder_of(tmp_path, "csiq"))
    table = datasets.load_table("csiq", root=tmp_path)
    assert table.attrs["notes"] == [
        "lower was better, so labels are turned round: label = 0 + 1 - published"
    ]
    assert (
        datasets.describe("csiq", root=tmp_path)["direction"]
        == "lower was better, turned round: label = 0.0 + 1.0 - published"
    )
    means = table.groupby("level").label.mean()
    assert means.is_monotonic_decreasing
    raw_trees.kadid10k(folder_of(tmp_path, "kadid10k"))
    assert datasets.load_table("kadid10k", root=tmp_path).attrs["notes"] == []
    assert datasets.describe("kadid10k")["direction"] == "higher is better", (
        "though its column is called dmos"
    )


def test_live_leaves_out_the_undistorted_and_lets_few_labels_lie_outside(tmp_path):
    rows = raw_trees.live(folder_of(tmp_path, "live"))
    table = datasets.load_table("live", root=tmp_path)
    assert len(table) == len(rows) < 982 and table.label.min() == -3.5
    assert table.attrs["left_out"][:2] == [
        "data/raw/live/jp2k/img5.bmp",
        "data/raw/live/jp2k/img10.bmp",
    ]
    notes = " ".join(table.attrs["notes"])
    assert f"{982 - len(rows)} rows are left out, their orgs is 1" in notes
    assert f"2 of {len(rows)} labels lie outside 0 to 100" in notes


def test_the_label_that_is_not_there_names_its_file(tmp_path):
    raw_trees.live(folder_of(tmp_path, "live"), original=True)
    with pytest.raises(
        FileNotFoundError, match="dmos_realigned.mat, which gives the label realigned, is missing"
    ):
        datasets.load_table("live", root=tmp_path)
    dmos = datasets.load_table("live", root=tmp_path, label="dmos")
    assert list(dmos.label[:5]) == [80, 79, 78, 77, 75] and dmos.label_std.isna().all(), (
        "lower was better"
    )
    with pytest.raises(KeyError, match="live has no label 'mos'; there is realigned, dmos"):
        datasets.load_table("live", root=tmp_path, label="mos")


def test_the_alignment_of_agiqa_is_another_label_than_its_quality(tmp_path):
    raw_trees.agiqa3k(folder_of(tmp_path, "agiqa3k"))
    table = datasets.load_table("agiqa3k", root=tmp_path, label="alignment")
    assert list(table.label) == [0.40889324, 2.83] and list(table.label_std) == [0.615607722, 0.43]


def edit_kadid(root, labels):
    raw_trees.kadid10k(folder_of(root, "kadid10k"))
    path = folder_of(root, "kadid10k") / "dmos.csv"
    table = pd.read_csv(path)
    table.assign(dmos=labels(table.dmos)).to_csv(path, index=False)


def test_dmos_read_as_mos_is_caught(tmp_path):
    edit_kadid(tmp_path, lambda mos: 6 - mos)
    with pytest.raises(
        ValueError, match=r"labels fall in 0% of 6 cases, not in nearly all: DMOS read as MOS"
    ):
        datasets.load_table("kadid10k", root=tmp_path)


def test_labels_joined_to_the_wrong_images_are_caught(tmp_path):
    edit_kadid(
        tmp_path, lambda mos: np.concatenate([mos[15:].to_numpy()[::-1], mos[:15].to_numpy()])
    )
    with pytest.raises(
        ValueError, match=r"labels fall in 50% of 6 cases.*labels joined to the wrong images"
    ):
        datasets.load_table("kadid10k", root=tmp_path)


def test_a_users_own_levels_only_raise_a_warning(tmp_path):
    lines = "".join(f"{c}{level}.png,{level},{c},blur,{level}\n" for c in "ab" for level in (1, 2))
    raw_trees.write(
        folder_of(tmp_path, "mine"), "labels.csv", f"image,label,content,distortion,level\n{lines}"
    )
    with pytest.warns(
        UserWarning, match="mine: from the lowest to the highest level labels fall in 0% of 2 cases"
    ):
        assert len(datasets.load_table("mine", root=tmp_path)) == 4


@pytest.mark.parametrize(("falling", "told"), [(13, 1), (16, 0)])  # of 20
def test_labels_must_fall_in_three_quarters_of_the_cases(falling, told):
    rows = [
        (f"{c}", level, -level if c < falling else level) for c in range(20) for level in (1, 2)
    ]
    table = pd.DataFrame(rows, columns=["content", "level", "label"]).assign(distortion="blur")
    assert len(datasets.plausible(table)) == told


def test_plausible_is_silent_where_levels_tell_nothing():
    table = pd.DataFrame(
        {
            "image": ["a", "b"],
            "label": [1, 2],
            "content": ["a", "b"],
            "distortion": "blur",
            "level": [1, 2],
        }
    )
    assert datasets.plausible(table) == [] and datasets.plausible(table[["image", "label"]]) == []


def test_labels_of_another_set_are_caught_by_the_images(tmp_path):
    folder = folder_of(tmp_path, "kadid10k")
    raw_trees.kadid10k(folder)
    raw_trees.write_pictures(folder, [f"images/i{k:02}_1.bmp" for k in range(20)])
    with pytest.raises(
        ValueError,
        match=r"none of 30 images is in .*I01_01_01.png.*; 20 others are, as images/i00_1.bmp",
    ):
        datasets.load_table("kadid10k", root=tmp_path)


def test_names_of_another_set_are_caught_by_the_pattern(tmp_path):
    raw_trees.write(
        folder_of(tmp_path, "kadid10k"),
        "dmos.csv",
        "dist_img,ref_img,dmos,var\ni01_01_1.bmp,I01.BMP,5.5,.1\n",
    )
    with pytest.raises(
        ValueError,
        match=(
            r"kadid10k: i01_01_1.bmp is not named as .*, nor are 0 others; are they images of "
            r"another"
        ),
    ):
        datasets.load_table("kadid10k", root=tmp_path)


def test_codes_that_nobody_knows_are_named(tmp_path):
    raw_trees.write(
        folder_of(tmp_path, "kadid10k"),
        "dmos.csv",
        "dist_img,ref_img,dmos,var\nI01_26_01.png,I01.png,4,.1\n",
    )
    with pytest.raises(ValueError, match="type of I01_26_01.png is 26; known are 01, 02"):
        datasets.load_table("kadid10k", root=tmp_path)


def test_matlab_files_belong_together_row_by_row(tmp_path):
    folder = folder_of(tmp_path, "live_challenge")
    raw_trees.live_challenge(folder)
    raw_trees.write_matrix(folder, "Data/AllMOS_release.mat", AllMOS_release=np.ones((1, 3)))
    with pytest.raises(
        ValueError,
        match="AllMOS_release.mat has 3 rows, those before it 10; they belong together row by row",
    ):
        datasets.load_table("live_challenge", root=tmp_path)
    raw_trees.write_matrix(folder, "Data/AllMOS_release.mat", mos=np.ones((1, 10)))
    with pytest.raises(
        ValueError, match="AllMOS_release.mat cannot be read .it has no AllMOS_release, but mos"
    ):
        datasets.load_table("live_challenge", root=tmp_path)


def test_a_live_of_another_release_is_refused(tmp_path):
    folder = folder_of(tmp_path, "live")
    raw_trees.live(folder)
    raw_trees.write_matrix(
        folder,
        "dmos_realigned.mat",
        dmos_new=np.ones((1, 5)),
        dmos_std=np.ones((1, 5)),
        orgs=np.ones((1, 5)),
    )
    raw_trees.write_matrix(
        folder, "refnames_all.mat", refnames_all=raw_trees.cells(list("abcde"), (1, -1))
    )
    with pytest.raises(ValueError, match="live has 5 rows, not 982"):
        datasets.load_table("live", root=tmp_path)


@pytest.mark.parametrize("name", [name for name in SETS if name not in ("csv", "folder")])
def test_absent_label_files_are_asked_for_with_what_to_do(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        datasets.load_table(name, root=tmp_path)
    facts, told = datasets.describe(name, root=tmp_path), str(error.value)
    assert (
        any(file in told for file in facts["absent"])
        and f"`python -m iqa_core data get {name}`" in told
    )
    assert facts["licence"] in told and facts["address"] in told and str(facts["folder"]) in told


@pytest.mark.parametrize("name", ["spaq", "live_challenge"])
def test_damaged_workbooks_and_matrices_are_named(name, tmp_path):
    folder = folder_of(tmp_path, name)
    raw_trees.WRITERS[name](folder)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        ValueError, match=r"(xlsx|mat) cannot be read .*; mend it or fetch it again"
    ):
        datasets.load_table(name, root=tmp_path)
