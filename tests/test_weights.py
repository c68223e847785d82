"""Published weights: the table, what is read and what is refused, key names, and conversion through
the command line.
"""

import argparse
import inspect
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_rules import filled, golden, image
from safetensors.torch import save_file

from iqa_core import runs
from iqa_core.apps import commands
from iqa_core.models import create_model, list_models, module_of, published, weights

ROWS = published.rows()
MODELS = [row for row in ROWS if row.model]
SMALL = {"backbone": "resnet18"}


# ------------------------------------------------------------------------------
# the table
def test_every_row_is_named_once_and_has_a_file_of_its_own():
    names, files = [row.name for row in ROWS], [row.file for row in ROWS if row.file]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)
    assert not set(names) & set(list_models()), "a model's name is for files without a row"
    assert all(Path(file).name == file for file in files)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_a_row_fits_its_model(row):
    assert row.model in list_models()
    known = inspect.signature(module_of(row.model).build).parameters
    assert set(row.arguments) <= set(known) - {"pretrained"}
    assert row.file and row.trained_on and row.label and row.units
    assert row.low < row.high
    assert re.fullmatch(r"|\d+|\d+x\d+( bicubic)?", row.resize)


def test_what_models_start_from_says_who_needs_it():
    assert all(
        row.needed_by and not row.units and not row.arguments for row in ROWS if not row.model
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_addresses_and_facts_are_well_formed(row):
    patterns = [
        r"https://[\w./-]+",
        r"drive:[\w-]{33}",
        r"timm:[\w.]+",
        r"torchvision:\w+_Weights\.IMAGENET1K_V1",
    ]
    if row.address or row.name != "smart_iqa-koniq":
        assert any(re.fullmatch(pattern, row.address) for pattern in patterns)
    assert bool(row.file) != row.address.startswith(("timm:", "torchvision:"))
    if row.address.startswith("https:"):
        assert row.address.endswith("/" + row.file)
    assert row.licence and row.megabytes > 0
    assert re.fullmatch(r"|[0-9a-f]{8}|[0-9a-f]{64}", row.sha256)
    if row.sha256 and "-" in row.file:
        assert row.sha256.startswith(re.search(r"-(\w+)\.pth$", row.file)[1]), (
            "pyiqa writes the digits into the name"
        )


def test_libraries_know_the_weights_they_are_to_fetch():
    import timm
    import torchvision

    for row in ROWS:
        library, _, key = row.address.partition(":")
        if library == "timm":
            assert timm.get_pretrained_cfg(key).tag == key.partition(".")[2]
        if library == "torchvision":
            assert torchvision.models.get_weight(key).url


def test_all_published_miqa_checkpoints_are_listed():
    found = {
        (row.label, row.task, row.arguments.get("backbone", "ra_miqa").partition("_patch")[0])
        for row in ROWS
        if row.task
    }
    some = {"resnet50", "efficientnet_b5", "vit_small", "ra_miqa"}
    kinds = {
        "composite": some | {"resnet18", "efficientnet_b1"},
        "accuracy": some,
        "consistency": some,
    }
    wanted = {
        (label, task, model)
        for label, models in kinds.items()
        for task in ("cls", "det", "ins")
        for model in models
    }
    assert found == wanted
    assert len([row for row in ROWS if row.task]) == len(wanted) == 42


def test_a_missing_file_is_told_with_command_address_and_place(project):
    with pytest.raises(
        FileNotFoundError,
        match=r"weights get musiq-imagenet.*imagenet_pretrain\.npz; or put the file at",
    ):
        published.local_file("musiq-imagenet")
    with pytest.raises(
        FileNotFoundError, match="no file is published.*data/raw/weights/smart_iqa_koniq.pkl"
    ):
        published.local_file("smart_iqa-koniq")
    with pytest.raises(ValueError, match="swin_tiny is no file here: timm fetches it"):
        published.local_file("swin_tiny")
    with pytest.raises(KeyError, match="did you mean 'musiq-koniq'"):
        published.local_file("musiq-konik")
    path = published.row("musiq-imagenet").path
    path.parent.mkdir(parents=True)
    path.touch()
    assert (
        published.local_file("musiq-imagenet")
        == path
        == project.root / "data/raw/weights/imagenet_pretrain.npz"
    )


# ------------------------------------------------------------------------------
# reading
STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.zeros(2)}


def prefixed(prefix):
    return {prefix + key: value for key, value in STATE.items()}


WRAPPED = {
    "bare": STATE,
    **{key: {key: STATE, "epoch": 3} for key in published.WRAPPERS},
    "nested": {"state_dict": {"model": STATE}},
    "data parallel": {"state_dict": prefixed("module.")},
    "pyiqa's wrapper": prefixed("net."),
    **{prefix: prefixed(prefix) for prefix in published.PREFIXES},
    "both": prefixed("module.net."),
    "three": {"state_dict": prefixed("model._orig_mod.module.")},
    "an average's": {"n_averaged": torch.tensor(3), **prefixed("module.")},
    "numbers": {
        "state_dict": STATE,
        "best_srcc": np.float64(0.9),
        "epoch": np.int64(3),
        "done": np.bool_(True),
        "history": np.arange(3.0),
        "params": {"lr": 1e-4},
    },
    "arrays": {key: value.numpy() for key, value in STATE.items()},
    "namespace": {
        "state_dict": STATE,
        "args": argparse.Namespace(lr=0.16, name="x"),
        "optimizer": {"state": {}},
    },
}


def assert_state(state):
    assert state.keys() == STATE.keys()
    for key, value in STATE.items():
        torch.testing.assert_close(state[key], value)


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_wrapper_is_taken_off(form, zipped, tmp_path):
    torch.save(WRAPPED[form], tmp_path / "x.pth.tar", _use_new_zipfile_serialization=zipped)
    assert_state(published.read(tmp_path / "x.pth.tar"))


OTHER = {key: value + 1 for key, value in STATE.items()}
EMA = {"initted": torch.tensor(True), "step": torch.tensor(9)}
EMA |= {f"online_model.{key}": value for key, value in OTHER.items()} | prefixed("ema_model.")
SEVERAL = {  # what is taken, and what else may be
    "beside": ({"params": STATE, "params_ema": OTHER, "optimizer": {"state": {}}}, "params_ema"),
    "with numbers": ({"state_dict": STATE, "ema": OTHER, "best": np.float64(0.9)}, "ema"),
    "nested": ({"model": {"params": STATE, "params_ema": OTHER}, "epoch": 3}, "model.params_ema"),
    "behind a prefix": ({"net": STATE, "ema": prefixed("module.")}, "ema"),
    "an average": (EMA, "online_model"),
    "a nested average": ({"state_dict": EMA}, "state_dict.online_model"),
    "an average behind a prefix": (
        {f"module.{key}": value for key, value in EMA.items()},
        "module.online_model",
    ),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_which_of_several_was_taken_is_said_and_the_other_can_be(form, tmp_path):
    file = tmp_path / "x.pth"
    holds, entry = SEVERAL[form]
    torch.save(holds, file)
    with pytest.warns(UserWarning, match=r"x.pth: \w+ is taken, not \w+ beside it; ") as told:
        assert_state(published.read(file))
    assert len(told) == 1
    assert re.search("--entry (.*)", str(told[0].message))[1] == entry
    wanted = STATE if form == "behind a prefix" else OTHER
    torch.testing.assert_close(published.read(file, entry=entry), wanted)


def test_an_entry_that_is_not_there_is_told_with_those_that_are(tmp_path):
    torch.save({"model": {"params": STATE, "ema": OTHER}, "epoch": 3}, tmp_path / "x.pth")
    for entry, there in {
        "params": "model, epoch",
        "model.e": "params, ema",
        "epoch": "model",
    }.items():
        with pytest.raises(ValueError, match=f"has no entry {entry} with weights; .* are {there}"):
            published.read(tmp_path / "x.pth", entry=entry)


def test_numbers_of_an_older_numpy_are_read(tmp_path):
    file = tmp_path / "x.pth"
    holds = {"state_dict": STATE, "best": np.float64(0.9)}
    torch.save(holds, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    assert b"numpy._core.multiarray" in whole
    file.write_bytes(whole.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert_state(published.read(file))


def test_safetensors_and_npz_are_read(tmp_path):
    save_file(prefixed("module."), tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **{key: value.numpy() for key, value in STATE.items()})
    assert_state(published.read(tmp_path / "x.safetensors"))
    assert_state(published.read(tmp_path / "x.npz"))


def test_the_official_musiq_arrays_get_the_ports_names(tmp_path, monkeypatch):
    monkeypatch.setattr(
        published, "musiq_state", lambda arrays: {key.upper(): arrays[key] for key in arrays}
    )
    np.savez(tmp_path / "x.npz", **{"opt/target/head/kernel": np.zeros(3, np.float32)})
    assert published.read(tmp_path / "x.npz", model="musiq").keys() == {"OPT/TARGET/HEAD/KERNEL"}
    assert published.read(tmp_path / "x.npz").keys() == {"opt/target/head/kernel"}


class Trap:
    """Unpickling it by pickle itself would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class System:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("trap", [Trap, System])
@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle", "npz"])
def test_nothing_in_a_file_is_executed(trap, form, tmp_path):
    sprung, file = tmp_path / "sprung", tmp_path / ("x.npz" if form == "npz" else "x.pkl")
    holds = {"state_dict": STATE, "args": trap(sprung)}
    if form == "npz":
        np.savez(file, weight=np.array([trap(sprung)], dtype=object))
    elif form == "plain pickle":
        file.write_bytes(pickle.dumps(holds, protocol=2))
    else:
        torch.save(holds, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(
        ValueError,
        match="is refused: it holds .* runs code of whoever made the file. Ask for a state dict",
    ):
        published.read(file)
    assert not sprung.exists()
    if form == "plain pickle":
        pickle.loads(file.read_bytes())
        assert sprung.exists(), "the trap itself works"


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "ckpt_valid")
    with pytest.raises(
        ValueError, match=r"ckpt_valid is refused: it holds torch\.nn\.modules\.linear\.Linear"
    ):
        published.read(tmp_path / "ckpt_valid")


def test_what_a_refusal_of_a_file_advises_helps(tmp_path):
    file, mended = tmp_path / "x.pth", tmp_path / "y.safetensors"
    save_file(STATE, file)
    with pytest.raises(ValueError, match="or give it the ending of what it is .*safetensors"):
        published.read(file)
    assert_state(published.read(file.rename(mended)))
    model = torch.nn.Linear(2, 2)
    for holds in (model, [model.state_dict()]):
        torch.save(holds, file)
        with pytest.raises(ValueError, match=r"save (model.state_dict\(\) by|one with) torch.save"):
            published.read(file)
    torch.save(model.state_dict(), file)
    assert published.read(file).keys() == {"weight", "bias"}


@pytest.mark.parametrize("name", ["x.pth", "x.npz", "x.safetensors"])
def test_damaged_files_are_told(name, tmp_path):
    file = tmp_path / name
    if name == "x.npz":
        np.savez(file, **{key: value.numpy() for key, value in STATE.items()})
    elif name == "x.pth":
        torch.save(STATE, file)
    else:
        save_file(STATE, file)
    whole = file.read_bytes()
    for damaged in (
        whole[:-40],
        whole[: len(whole) // 2],
        b"",
        b"<!DOCTYPE html><html>quota</html>",
    ):
        file.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=rf"{name} cannot be read \(\w+\): it is damaged.*fetch it again"
        ):
            published.read(file)


def test_other_contents_and_no_file_are_told(tmp_path):
    torch.save({"epoch": 3, "weight": torch.zeros(1)}, tmp_path / "a.pth")
    torch.save([torch.zeros(1)], tmp_path / "b.pth")
    with pytest.raises(
        ValueError, match="a.pth holds no state dict: 'epoch' are no tensors, and none of params,"
    ):
        published.read(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="b.pth holds list and no state dict"):
        published.read(tmp_path / "b.pth")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        published.read(tmp_path / "c.pth")


# ------------------------------------------------------------------------------
# names
PYIQA = (  # the authors' key -> pyiqa's
    (r"^res\.lda([123])_pool\.0\.", lambda n: f"lda_modules.{int(n[1]) - 1}.0."),
    (r"^res\.lda([123])_fc\.", lambda n: f"lda_modules.{int(n[1]) - 1}.3."),
    (r"^res\.lda4_fc\.", "lda_modules.3.2."),
    (r"^res\.", "base_model."),
    (r"^fc([1234])w_conv\.", lambda n: f"fc_w_modules.{int(n[1]) - 1}."),
    (r"^fc5w_fc\.", "fc_w_modules.4.2."),
    (r"^fc([12345])b_fc\.", lambda n: f"fc_b_modules.{int(n[1]) - 1}.2."),
)


def test_hyperiqa_answers_as_published_under_pyiqas_names():
    state = filled(golden("hyperiqa")["keys"])
    renamed = {weights.renamed(key, PYIQA): value for key, value in state.items()}
    assert not any(key.startswith(("res.", "fc1")) for key in renamed)
    model = weights.from_published("hyperiqa", renamed)
    seed, case = next(iter(golden("hyperiqa")["cases"].items()))
    with torch.no_grad():
        np.testing.assert_allclose(model(image(int(seed), 224, 224)), case["score"], atol=1e-4)


def test_what_does_not_fit_is_counted_and_the_first_are_named():
    state = create_model("hyperiqa", **SMALL, pretrained=False).state_dict()
    stored = [key for key in state if not key.endswith(weights.COMPUTED)]
    missing = sorted(key for key in stored if key.startswith("backbone.body.layer3."))
    given = {key: value for key, value in state.items() if key not in missing}
    given |= {"b.x": torch.zeros(1), "a.x": torch.zeros(1)}
    given["hyper.bias.5.bias"] = torch.zeros(2)
    with pytest.raises(ValueError) as told:
        weights.from_published("hyperiqa", given, **SMALL)
    fitting = f"{len(stored) - len(missing) - 1} of {len(stored)} entries fit"
    more = f"and {len(missing) - 5} more (--named {len(missing)})"
    assert str(told.value) == (
        f"not a hyperiqa checkpoint for these arguments: {fitting}; 2 not ours: a.x, b.x; "
        f"{len(missing)} missing: {', '.join(missing[:5])} {more}; "
        "1 of another shape: hyper.bias.5.bias (2,) for (1,)"
    )
    with pytest.raises(ValueError) as told:
        weights.from_published("hyperiqa", given, named=len(missing), **SMALL)
    assert all(key in str(told.value) for key in missing) and "more" not in str(told.value)


# ------------------------------------------------------------------------------
# conversion
def run(monkeypatch, *arguments):
    """The command line; its exit code."""
    monkeypatch.setattr("sys.argv", ["iqa_core", "weights", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    return ended.value.code


@pytest.fixture
def published_hyperiqa(project):
    """A checkpoint as HyperIQA's authors would have saved one with ResNet-18, and the model it was
    taken from.
    """
    torch.manual_seed(1)
    model = create_model("hyperiqa", **SMALL, pretrained=False).eval()
    state = {
        key: value
        for key, value in model.state_dict().items()
        if not key.endswith(weights.COMPUTED)
    }
    theirs = {"backbone.body": "res", "local.project.4": "res.lda4_fc", "hyper.reduce": "conv1"}
    for ours, name in theirs.items():
        state = {
            re.sub(rf"^{re.escape(ours)}\.", f"{name}.", key): value for key, value in state.items()
        }
    file = project.root / "koniq_pretrained.pkl"
    torch.save(state, file)
    return file, model


def test_a_row_is_converted_and_loaded_with_its_contract(
    published_hyperiqa, project, monkeypatch, capsys
):
    file, model = published_hyperiqa
    before = file.read_bytes()
    assert (
        run(monkeypatch, "convert", file, "--model", "hyperiqa-koniq", "--set", "backbone=resnet18")
        == 0
    )
    folder = project.root / "data/raw/weights/hyperiqa-koniq"
    assert str(folder) in capsys.readouterr().out.replace("\n", "")
    assert {path.name for path in folder.iterdir()} == weights.MODEL_FILES
    assert [path.name for path in folder.parent.iterdir()] == ["hyperiqa-koniq"], "no draft is left"
    assert file.read_bytes() == before
    loaded, images = weights.load(folder), torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images))
    contract = loaded.contract
    assert (contract.low, contract.high, contract.resize) == (0, 100, (512, 384))
    assert contract.units == "KonIQ-10k MOS, z-scores on 0..100"
    assert re.search(
        r"hyperiqa-koniq: koniq_pretrained.pkl sha256-[0-9a-f]{12}; images resized to 512x384",
        contract.source,
    )


def test_converting_again_replaces_the_folder_and_nothing_else(
    published_hyperiqa, project, monkeypatch, capsys
):
    file, _ = published_hyperiqa
    convert = ("convert", file, "--model", "hyperiqa", "--set", "backbone=resnet18")
    assert run(monkeypatch, *convert) == run(monkeypatch, *convert) == 0
    folder = project.root / "data/raw/weights/koniq_pretrained"
    assert weights.load(folder).contract.resize is None, (
        "a model's own contract where no row is named"
    )
    (folder / "notes.txt").touch()
    assert run(monkeypatch, *convert) == 2
    assert run(monkeypatch, *convert, "--out", project.root) == 2
    assert run(monkeypatch, *convert, "--out", file) == 2
    assert capsys.readouterr().err.count("holds something else than a converted model") == 3
    assert (folder / "notes.txt").exists() and file.exists()


def test_another_entry_is_converted_as_the_warning_says(published_hyperiqa, project, monkeypatch):
    file, model = published_hyperiqa
    state = published.read(file)
    other = {key: value + 1 for key, value in state.items()}
    torch.save({"params": other, "params_ema": state, "best": np.float64(0.9)}, file)
    convert = ("convert", file, "--model", "hyperiqa", "--set", "backbone=resnet18")
    with pytest.warns(UserWarning, match="params is taken") as told:
        assert run(monkeypatch, *convert) == 0
    option = re.search("--entry .*", str(told[0].message))[0].split()
    assert run(monkeypatch, *convert, *option) == 0
    loaded = weights.load(project.root / "data/raw/weights/koniq_pretrained")
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())
    assert loaded.contract.source.endswith(", entry params_ema")


def test_a_converted_model_is_not_written_over_itself(published_hyperiqa, project):
    folder = weights.convert(published_hyperiqa[0], "hyperiqa", **SMALL)
    with pytest.raises(ValueError, match="give another folder with --out"):
        weights.convert(folder / "model.safetensors", "hyperiqa", out=folder, **SMALL)
    again = weights.convert(
        folder / "model.safetensors", "hyperiqa", out=project.root / "again", **SMALL
    )
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_what_does_not_fit_leaves_nothing_behind(published_hyperiqa, project, monkeypatch, capsys):
    file, _ = published_hyperiqa
    assert run(monkeypatch, "convert", file, "--model", "hyperiqa-koniq") == 2
    told = capsys.readouterr().err
    assert "not a hyperiqa checkpoint for these arguments" in told and len(told) < 1500
    all_of_them = max(re.findall(r"--named (\d+)", told), key=int)
    again = ("convert", file, "--model", "hyperiqa-koniq", "--named", all_of_them)
    assert run(monkeypatch, *again) == 2
    assert "more (--named" in told and "more (--named" not in capsys.readouterr().err
    assert run(monkeypatch, "convert", file, "--model", "hyperiqa", "--set", "bins=10") == 2
    assert (
        run(
            monkeypatch,
            "convert",
            file,
            "--model",
            "hyperiqa",
            "--set",
            "frozen=abc",
            "--set",
            "backbone=resnet18",
        )
        == 2
    )
    assert "hyperiqa has no argument bins to set; it has backbone, head" in capsys.readouterr().err
    assert run(monkeypatch, "convert", file, "--model", "hyperiqa-konik") == 2
    assert (
        "neither weights nor a model are named 'hyperiqa-konik'; did you mean 'hyperiqa-koniq"
        in capsys.readouterr().err
    )
    assert not list((project.root / "data").rglob("*.safetensors"))


def test_weights_without_a_quality_head_are_no_model(project, monkeypatch, capsys):
    assert run(monkeypatch, "convert", "any.npz", "--model", "musiq-imagenet") == 2
    assert (
        "musiq-imagenet has no quality head, so it is no model; it is where models start, read by "
        'create_model("musiq"' in (capsys.readouterr().err)
    )


@pytest.mark.parametrize(
    ("row", "changed"),
    [
        (
            "maniqa-koniq",
            {
                "resize": (224, 224),
                "interpolation": ("bicubic", "bilinear"),
                "crops": 1,
                "low": 0,
                "high": 1,
            },
        ),
        ("maniqa-kadid", {"resize": None, "crops": 20}),
        (
            "ckdn-pipal",
            {
                "resize": 329,
                "interpolation": ("bicubic", "nearest"),
                "crop": 288,
                "reference": "degraded",
            },
        ),
        ("musiq-ava", {"crop": None, "low": 1, "high": 10}),
        ("ra_miqa-composite-det", {"resize": 288, "crop": 224, "context": 288, "high": 1}),
    ],
)
def test_the_contract_of_published_weights(row, changed):
    row = published.row(row)
    own = create_model(row.model, **module_of(row.model).TEST_KWARGS[0], pretrained=False).contract
    if row.model == "maniqa":
        own.crop = 224  # the small build has another
    contract = weights.contract_with(own, row)
    assert {key: getattr(contract, key) for key in changed} == changed
    assert contract.units == row.units


def test_another_file_than_the_published_one_is_told(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = module_of("maniqa").TEST_KWARGS[0]
    state = create_model("maniqa", **small, pretrained=False).state_dict()
    torch.save({re.sub(r"^backbone\.", "vit.", key): value for key, value in state.items()}, "x.pt")
    remark = "which is not the file that was published"
    for name, remarked in {"maniqa-koniq": True, "maniqa-kadid": False}.items():
        folder = weights.convert(Path("x.pt"), name, **small)
        assert (remark in weights.load(folder).contract.source) == remarked


def test_a_conversion_that_fails_leaves_the_old_folder(published_hyperiqa, project, monkeypatch):
    folder = weights.convert(published_hyperiqa[0], "hyperiqa", **SMALL)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(model, draft):
        (draft / "model.json").touch()
        raise OSError("no space left on device")

    rename = Path.rename

    def busy(path, target):
        if path.name.isdigit() or path.suffix[1:].isdigit():
            raise PermissionError("a virus scanner holds it")
        return rename(path, target)

    for patch, message in (
        ((weights, "save", fail), "no space left"),
        ((Path, "rename", busy), "virus scanner"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(*patch)
            with pytest.raises(OSError, match=message):
                weights.convert(published_hyperiqa[0], "hyperiqa", **SMALL)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_converted_model_is_loaded_by_its_name_and_before_that_the_way_is_told(
    published_hyperiqa, project
):
    with pytest.raises(
        FileNotFoundError,
        match="weights get hyperiqa-koniq`, then `weights convert --model hyperiqa-koniq`",
    ):
        runs.load_model("hyperiqa-koniq")
    folder = weights.convert(published_hyperiqa[0], "hyperiqa-koniq", **SMALL)
    for name in ("hyperiqa-koniq", folder, str(folder)):
        assert runs.load_model(name).contract.resize == (512, 384)
    (folder / "model.json").write_text("{")
    with pytest.raises(
        ValueError, match="is damaged, or of another version of this code; make it again"
    ):
        runs.load_model("hyperiqa-koniq")


def test_what_else_is_in_no_way_weights(project, tmp_path):
    np.savez(tmp_path / "words.npz", a=np.array(["x"]))
    with pytest.raises(ValueError, match="holds arrays that are no numbers: a"):
        published.read(tmp_path / "words.npz")


# ------------------------------------------------------------------------------
# command line
def test_the_list_fits_and_is_complete(project, monkeypatch, capsys):
    published.row("ckdn-pipal").path.parent.mkdir(parents=True)
    published.row("ckdn-pipal").path.touch()
    assert run(monkeypatch, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    told = {line.split()[0]: line.split()[-1] for line in lines if line.strip()}
    assert {row.name for row in ROWS} <= told.keys()
    assert (told["ckdn-pipal"], told["ckdn-pipal-pyiqa"], told["swin_tiny"]) == (
        "yes",
        "no",
        "auto",
    )
    assert run(monkeypatch, "list", "--model", "ra_miqa") == 0
    out = capsys.readouterr().out
    assert (
        len(re.findall(r"^ra_miqa-\S+: https://drive", out, flags=re.M)) == 9
        and "sere_vit_small" in out
        and "vit_small_patch16" in out
        and "musiq" not in out
    )
    assert run(monkeypatch, "list", "--model", "ra_mika") == 2
    assert "did you mean 'ra_miqa'?" in capsys.readouterr().err


def test_the_list_needs_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; from iqa_core.models import published; published.rows(); "
        "print('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_getting_what_cannot_or_need_not_be_fetched(project, monkeypatch, capsys):
    assert run(monkeypatch, "get", "swin_tiny") == 0
    assert (
        "timm fetches swin_tiny_patch4_window7_224.ms_in1k by itself on first use"
        in capsys.readouterr().out
    )
    assert run(monkeypatch, "get", "smart_iqa-koniq") == 2
    assert "cannot be fetched: no file is published" in capsys.readouterr().err
    assert run(monkeypatch, "get", "sere") == 2
    assert "no published weights 'sere'" in capsys.readouterr().err


def test_getting_a_file_that_is_there_only_checks_it(project, monkeypatch, capsys):
    row = published.row("musiq-koniq")
    row.path.parent.mkdir(parents=True)
    row.path.write_bytes(b"weights")
    assert run(monkeypatch, "get", "musiq-koniq") == 0
    out = capsys.readouterr().out
    assert "was here already" in out
    assert "next: python -m iqa_core weights convert --model musiq-koniq" in out
    known = published.row("maniqa-koniq")
    known.path.write_bytes(b"weights")
    assert run(monkeypatch, "get", "maniqa-koniq") == 2
    assert "is not the file expected from https://github.com/IIGROUP" in capsys.readouterr().err


def test_two_entries_for_one_place_are_refused():
    model = create_model("hyperiqa", **SMALL, pretrained=False)
    state = dict(model.state_dict())
    state["fc5b_fc.bias"] = state["hyper.bias.5.bias"] + 1
    with pytest.raises(
        ValueError,
        match=r"several of its entries have one place: fc5b_fc\.bias, hyper\.bias\.5\.bias",
    ):
        weights.from_published("hyperiqa", state, **SMALL)


def test_a_head_alone_is_kept_beside_the_backbone_of_imagenet(tmp_path):
    model = create_model("smart_iqa", backbone="tf_efficientnet_lite0").eval()
    whole, head = tmp_path / "whole", tmp_path / "head"
    for folder, alone in ((whole, False), (head, True)):
        folder.mkdir()
        weights.save(model, folder, head_alone=alone)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, head)]
    assert sizes[1] < 0.2 * sizes[0]
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        known, found = model(images), weights.load(head)(images)
    # float16 keeps 11 bits of each weight
    assert found.numpy() == pytest.approx(known.numpy(), abs=1e-2 * known.abs().max().item())
    facts = json.loads((head / "model.json").read_text())
    facts["imagenet_backbone"] = "0" * 16
    (head / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"on the backbone 0{16}, but \w{16} is installed"):
        weights.load(head)
