"""Values of parameters are refused by bounds and choices before anything is touched, and without
torch.
"""

import json
import os
import resource
import subprocess
import sys
from importlib import import_module

import pytest
import timm
import torch
from conftest import REPOSITORY
from timm.models import is_model_in_modules

from iqa_core.apps import planning, sweep
from iqa_core.models import create_model, list_models
from iqa_core.models.arguments import arguments_of, backbones, wanted_for_frozen_crops
from iqa_core.models.pyramid import Pyramid
from iqa_core.runs import choices
from iqa_core.runs.parameters import declared_parameters
from iqa_core.training import Recipe

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
STEMS = [path.stem for path in NOTEBOOKS]
PREPARE, TRAIN, SMART, ABLATE, LOOK, WHOLE, REFERENCE, MACHINES, SCORE, EXPORT = STEMS


def declared(stem):
    parameters = declared_parameters(REPOSITORY / f"notebooks/{stem}.ipynb")
    return {name: parameter.default for name, parameter in parameters.items()}


def check(stem, root=REPOSITORY, **values):
    choices.check_choices(declared(stem) | values, notebook_stem=stem, root=root)


QUESTION = {"ask": "which?", "variant": "full", "than": "square", "caution": "much"}
WRONG = [
    (WHOLE, "averages", {"mean": ["ful"]}, KeyError, "no 'ful'; did you mean 'full'?"),
    (WHOLE, "averages", {"square": ["full"]}, ValueError, "square is a variant already"),
    (WHOLE, "questions", [QUESTION | {"than": "squares"}], KeyError, "no 'squares'; did you mean"),
    (WHOLE, "questions", [{"ask": "?"}], ValueError, "ask, caution, than, variant is wanted"),
    (WHOLE, "photographs", 0, ValueError, "0: Input should be greater than 0"),
    (WHOLE, "ratios", [20.0], ValueError, "20.0: Input should be less than or equal to 10"),
    (WHOLE, "frozen_crops", 5, ValueError, "5 crops make no grid"),
    (REFERENCE, "type_column", "kind", KeyError, "there is no 'kind'. There are image, label"),
    (REFERENCE, "inputs", "degradation", KeyError, "there is no 'degradation'. There are image"),
    (REFERENCE, "unseen", ["jpeg2"], KeyError, "no 'jpeg2'; did you mean 'jpeg'"),
    (REFERENCE, "always", ["untouched"], KeyError, "there is no 'untouched'. There are brighten"),
    (REFERENCE, "asked_on", "all", KeyError, "there is no 'all'. There are all types"),
    (TRAIN, "experiment", "a/b", ValueError, "'a/b' names a folder: letters, digits and"),
    (TRAIN, "run", "..", ValueError, "'..' names a folder"),
    (TRAIN, "data_set", "demos", KeyError, "no data set 'demos'; did you mean 'demo'? There are"),
    (PREPARE, "label", "mos", KeyError, "there is no 'mos'. There are label"),
    (PREPARE, "without_absent", True, ValueError, "true: this set makes its own images, so none"),
    (PREPARE, "schemes", [], ValueError, "[]: at least one scheme is wanted"),
    (PREPARE, "schemes", ["rotaton1"], ValueError, "'rotaton1'; did you mean 'rotation<k>'? There"),
    (PREPARE, "schemes", ["rotation5"], ValueError, "rotation is 5; it runs from 1 to 4"),
    (PREPARE, "schemes", ["leave-jpg-out"], KeyError, "no 'jpg'; did you mean 'jpeg'? There are"),
    (PREPARE, "resize", [3, 84, 1], ValueError, "[3, 84, 1]: height and width are wanted"),
    (PREPARE, "resize", [384, 0], ValueError, "[384, 0]: height and width are wanted"),
    (TRAIN, "split", "demo-rotatio1", FileNotFoundError, "rotatio1.csv; did you mean 'demo-rotati"),
    (TRAIN, "split", "demo-rotation9", FileNotFoundError, "it runs from 1 to 4"),
    (TRAIN, "split", "other", FileNotFoundError, "There are demo-rotation1, demo-rotation2, demo"),
    (TRAIN, "model", "smart_iqaa", KeyError, "'smart_iqaa'; did you mean 'smart_iqa'? There are c"),
    (TRAIN, "model", "resnet", KeyError, "no 'resnet'. There are ckdn, hyperiqa, iqt, maniqa, miq"),
    (
        TRAIN,
        "arguments",
        {"heads": 1},
        KeyError,
        "'heads'; did you mean 'head'? There are backbone",
    ),
    (
        TRAIN,
        "arguments",
        {"head": "lite"},
        ValueError,
        "head = 'lite': Input should be 'published'",
    ),
    (TRAIN, "arguments", {"head": "lite"}, ValueError, "or 'light'; did you mean 'light'?"),
    (
        TRAIN,
        "arguments",
        {"frozen": -1},
        ValueError,
        "frozen = -1: Input should be greater than or",
    ),
    (
        TRAIN,
        "arguments",
        {"pretrained": 1},
        ValueError,
        "pretrained = 1: Input should be a valid b",
    ),
    (TRAIN, "arguments", {"backbone": "resnet-50"}, ValueError, "did you mean 'resnet50' or"),
    (
        TRAIN,
        "arguments",
        {"backbone": "resnet50.a9"},
        ValueError,
        "resnet50.a1_in1k, resnet50.a1h_",
    ),
    (
        TRAIN,
        "arguments",
        {"backbone": "vit_tiny_patch16_224"},
        ValueError,
        "timm has no pyramid of",
    ),
    (SMART, "arguments", {"size": "tinny"}, ValueError, "did you mean 'tiny'?"),
    (
        SMART,
        "arguments",
        {"dropout": 1.5},
        ValueError,
        "dropout = 1.5: Input should be less than 1",
    ),
    (
        SMART,
        "arguments",
        {"drop_path": "0"},
        ValueError,
        "drop_path = '0': Input should be a valid",
    ),
    (TRAIN, "contract", {"crop_count": 2}, KeyError, "there is no 'crop_count'. There are source"),
    (TRAIN, "contract", {"crops": 7}, ValueError, "crops = 7: 7 crops make no grid"),
    (TRAIN, "contract", {"crops": 0}, ValueError, "crops = 0: Input should be greater than 0"),
    (TRAIN, "contract", {"crop": -5}, ValueError, "crop = -5: Input should be greater than 0"),
    (
        TRAIN,
        "contract",
        {"resize": [384]},
        ValueError,
        "the shorter side or [height, width] is wan",
    ),
    (SMART, "contract", {"crop": 4}, ValueError, "crop = 4: smart_iqa takes crops of 224"),
    (TRAIN, "contract", {"resize": [384, 0]}, ValueError, "(384, 0): the shorter side or"),
    (TRAIN, "contract", {"interpolation": ["cubic", "box"]}, ValueError, "did you mean 'bicubic'?"),
    (TRAIN, "frozen_crops", -1, ValueError, "-1: Input should be greater than or equal to 0"),
    (TRAIN, "frozen_crops", 7, ValueError, "7 crops make no grid"),
    (TRAIN, "frozen_crops", 4, ValueError, "hyperiqa with head light cannot be trained on frozen"),
    (TRAIN, "options", {"select": "spaq"}, KeyError, "there is no 'spaq'. There are val, test"),
    (ABLATE, "options", {"select": "test"}, KeyError, "there is no 'test'. There are val"),
    (LOOK, "batch_size", 0, ValueError, "0: Input should be greater than 0"),
    (LOOK, "further", -1, ValueError, "-1: Input should be greater than or equal to 0"),
    (TRAIN, "processes", 0, ValueError, "0: Input should be greater than 0"),
    (TRAIN, "seed", -1, ValueError, "-1: Input should be greater than or equal to 0"),
    (ABLATE, "seeds", [], ValueError, "[]: List should have at least 1 item"),
    (ABLATE, "seeds", [1, 1], ValueError, "[1, 1]: a seed stands twice"),
    (ABLATE, "seeds", [-1], ValueError, "[-1]: Input should be greater than or equal to 0"),
    (
        TRAIN,
        "measures",
        ["psnrr"],
        KeyError,
        "'psnrr'; did you mean 'psnr'? There are dists, fsim, haarpsi",
    ),
    (
        TRAIN,
        "scale_label",
        "lable",
        KeyError,
        "'lable'; did you mean 'label'? There are image, lab",
    ),
    (TRAIN, "monitor", ["spak"], KeyError, "no data set 'spak'; did you mean 'spaq'?"),
    (TRAIN, "start_from", "first", ValueError, "'first': <experiment>/<run> is wanted, as demo/02"),
    (SMART, "baseline", "demo/", ValueError, "'' names a folder"),
    (LOOK, "trained", "demo/../x", ValueError, "'..' names a folder"),
    (LOOK, "others", ["x"], ValueError, "'x': <experiment>/<run> is wanted"),
    (EXPORT, "ablation_run", "x", ValueError, "'x': <experiment>/<run> is wanted"),
    (EXPORT, "attention_run", "x", ValueError, "'x': <experiment>/<run> is wanted"),
    (EXPORT, "width", "colum", KeyError, "column"),
    (EXPORT, "names", {"HyperIQA": 3}, ValueError, "Input should be a valid string"),
    (EXPORT, "trained", ["x"], ValueError, "'x': <experiment>/<run> is wanted"),
    (TRAIN, "target", "lable", KeyError, "'lable'; did you mean 'label'? There are image, lab"),
    (MACHINES, "panel", ["tim:resnet50"], KeyError, "no 'tim'; did you mean 'timm'? There are"),
    (MACHINES, "panel", ["timm:resnet5"], ValueError, "timm has no network of that name; did you"),
    (MACHINES, "held_out", ["ndf:"], ValueError, "'ndf:' names no model; timm:resnet50 does"),
    (MACHINES, "views", ["center"], KeyError, "no 'center'; did you mean 'centre'?"),
    (MACHINES, "similarity", "cos", KeyError, "no 'cos'; did you mean 'cosine'? There"),
    (MACHINES, "sure", 1.0, ValueError, "1.0: Input should be less than 1"),
    (MACHINES, "folds", 1, ValueError, "1: Input should be greater than or equal to 2"),
    (ABLATE, "variants", {"a/b": {}}, ValueError, "'a/b' names a folder"),
    (ABLATE, "variants", {"full": {}}, ValueError, "full is the model of `arguments`"),
    (ABLATE, "variants", {"a": None}, ValueError, "a: None: Input should be a valid dictionary"),
    (
        ABLATE,
        "variants",
        {"a": {"epoch": 1}},
        KeyError,
        "a: there is no 'epoch'; did you mean 'epo",
    ),
    (
        ABLATE,
        "variants",
        {"a": {"epochs": "1"}},
        ValueError,
        "epochs = '1' (str), but int is wante",
    ),
    (
        ABLATE,
        "variants",
        {"a": {"arguments": {"gate": "x"}}},
        ValueError,
        "a: arguments: gate = 'x'",
    ),
    (
        ABLATE,
        "variants",
        {"a": {"contract": {"crops": 7}}},
        ValueError,
        "a: contract: crops = 7: 7",
    ),
    (ABLATE, "variants", {"a": {"frozen_crops": 7}}, ValueError, "a: frozen_crops: 7 crops make"),
    (
        ABLATE,
        "variants",
        {"a": {"seeds": []}},
        ValueError,
        "a: seeds: []: List should have at leas",
    ),
    (
        ABLATE,
        "compare",
        [["full", "fuson"]],
        KeyError,
        "'fuson'; did you mean 'fusion'? There are f",
    ),
    (ABLATE, "compare", [["full"]], ValueError, "['full']: pairs of variants are wanted"),
    (
        ABLATE,
        "compare",
        [["full", "full"]],
        ValueError,
        "['full', 'full']: pairs of variants are wa",
    ),
    (ABLATE, "left_out", ["jpg"], KeyError, "there is no 'jpg'; did you mean 'jpeg'? There are"),
    (ABLATE, "transfer", ["kadid"], KeyError, "no data set 'kadid'; did you mean 'kadid10k'"),
    (ABLATE, "transfer", ["koniq10k/a b"], ValueError, "'a b' names a folder"),
    (ABLATE, "transfer", ["kadid10k:content"], ValueError, "no split scheme 'content'"),
    (TRAIN, "monitor", ["spak:qalign"], KeyError, "no data set 'spak'; did you mean 'spaq'?"),
    (TRAIN, "monitor", ["spaq:"], ValueError, "no split scheme ''"),
    (
        SCORE,
        "paths",
        ["data/dem"],
        FileNotFoundError,
        "data/dem is not there; paths are meant from",
    ),
    (SCORE, "reference", "absent.png", FileNotFoundError, "absent.png is not there"),
    (SCORE, "photo", "data/demo/be.png", FileNotFoundError, "data/demo/be.png is not there"),
    (SCORE, "videos", ["absent.mp4"], FileNotFoundError, "absent.mp4 is not there"),
    (
        SCORE,
        "scorers",
        ["psrn"],
        KeyError,
        "'psrn'; did you mean 'psnr'? There are dists, fsim, haarpsi",
    ),
    (SCORE, "scorers", ["demo/.."], ValueError, "'..' names a folder"),
    (SCORE, "distortions", ["jpg"], KeyError, "there is no 'jpg'; did you mean 'jpeg'?"),
    (SCORE, "frames", 0, ValueError, "greater than 0"),
    (SCORE, "clip_frames", 1, ValueError, "greater than or equal to 2"),
]


@pytest.mark.parametrize(
    ("stem", "name", "value", "error", "words"), WRONG, ids=lambda x: str(x)[:20]
)
def test_a_wrong_value_is_refused_with_what_is_allowed(stem, name, value, error, words):
    with pytest.raises(error) as refused:
        check(stem, **{name: value})
    message = refused.value.args[0]
    assert message.startswith(f"{name}: ") and words in message


def test_every_check_of_the_registry_is_tried_above():
    assert {name for _, name, *_ in WRONG} == set(choices.CHECKS) - {"shuffle", "select_by"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_has_a_check(notebook):
    names = set(declared_parameters(notebook))
    unchecked = names - set(Recipe.model_fields) - set(choices.CHECKS) - choices.FREE_TEXT
    assert not unchecked, f"write their checks into CHECKS of iqa_core/runs/choices.py: {unchecked}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_defaults_are_accepted(notebook):
    check(notebook.stem)


def test_what_is_accepted_beside_the_defaults():
    check(PREPARE, data_set="koniq10k", label="mos", schemes=["random80-0"], resize=[384, 512])
    check(TRAIN, data_set="koniq10k", split="koniq10k-official", scale_label="mos")
    check(TRAIN, model="iqt", arguments={"size": "iqt_c", "backbone": "resnet18.a1_in1k"})
    check(TRAIN, arguments={"backbone": "swin_tiny_patch4_window7_224"}, frozen_crops=4)
    check(TRAIN, contract={"crops": None, "resize": 384, "interpolation": ["bicubic", "box"]})
    check(TRAIN, monitor=["spaq"], options={"select": "spaq"}, start_from="demo/04/full-seed0")
    check(ABLATE, transfer=["kadid10k", "koniq10k-transfer/04_ablations"], left_out=["jpeg"])
    check(ABLATE, transfer=["spaq", "kadid10k:contents-I66-I81"])
    check(TRAIN, monitor=["kadid10k:contents-I66-I81"])
    check(ABLATE, data_set="kadid10k", split="kadid10k-random80-1", left_out=["whatever"])


def test_another_model_gets_nothing_of_what_the_notebook_declares_for_its_own():
    check(TRAIN, model="maniqa")
    with pytest.raises(KeyError, match="arguments: there is no 'head'; did you mean 'heads'"):
        check(TRAIN, model="musiq", arguments={"head": "light"})
    with pytest.raises(
        ValueError, match="frozen_crops: 4: maniqa cannot be trained on frozen crop"
    ):
        check(TRAIN, model="maniqa", frozen_crops=4)


@pytest.mark.parametrize("change", [{"gate": "static"}, {"attention": False}])
def test_stage_weights_are_exchanged_where_they_depend_on_the_image(change):
    with pytest.raises(ValueError, match="shuffle: true: .* gate: adaptive"):
        check(ABLATE, arguments=change)
    check(ABLATE, arguments=change, shuffle=False)


def test_a_table_tells_its_columns_and_distortions(project):
    for path in NOTEBOOKS:
        (project.root / "notebooks" / path.name).symlink_to(path)
    folder = project.root / "data/tables"
    folder.mkdir(parents=True)
    (folder / "own.csv").write_text('image,label,sharpness,distortion\n"a,b.png",1,2,smoke\n')
    of_set = {"data_set": "own", "split": "own-rotation1"}
    check(TRAIN, project.root, **of_set, scale_label="sharpness")
    (project.root / "data/splits").mkdir()
    (project.root / "data/splits/demo-rotation1.csv").write_text("image,split\nc.png,test\n")
    with pytest.raises(ValueError, match="rotation1 divides other images .* makes own-<scheme>"):
        check(TRAIN, project.root, **of_set | {"split": "demo-rotation1"})
    with pytest.raises(KeyError, match="scale_label: .*There are image, label, sharpness, disto"):
        check(TRAIN, project.root, **of_set, scale_label="mos")
    with pytest.raises(KeyError, match="left_out: there is no 'fog'. There are smoke"):
        check(ABLATE, project.root, **of_set, left_out=["fog"])
    run = project.root / "data/runs/lab/first"
    run.mkdir(parents=True)
    (run / "params.json").write_text(json.dumps({"set": "own"}))
    check(LOOK, project.root, trained="lab/first", select_by="sharpness")
    with pytest.raises(KeyError, match="select_by: there is no 'mos'"):
        check(LOOK, project.root, trained="lab/first", select_by="mos")


# ---- the planner


def plan(target, *settings):
    overrides = planning.parse_overrides(list(settings))
    jobs = planning.plan(target, root=REPOSITORY, overrides=overrides)
    planning.check_runs(jobs, root=REPOSITORY)
    return jobs


def test_the_planner_names_file_and_parameter():
    with pytest.raises(KeyError, match="params/demo/02_train_baseline.yaml: model: there is no"):
        plan("demo", "model=resnet")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("{options: {los: l2}}", KeyError, "a: options: no recipe has 'los'; did you mean 'loss'"),
        ("{options: {loss: l3}}", ValueError, "a: loss = 'l3' .str.: Input should be 'l1'"),
        ("{epochs: 0}", ValueError, "a: epochs = 0 .int.: Input should be greater than 0"),
        ("{options: {seed: 1}}", KeyError, "a: options: the notebook has a parameter seed"),
    ],
)
def test_the_planner_refuses_the_recipe_of_a_variant(change, error, words):
    with pytest.raises(error, match=f"04_ablations.yaml: variants: {words}"):
        plan("demo-full/04_ablations", f"variants={{a: {change}}}", "compare=[]")


def test_runs_that_are_read_are_there_or_made_before():
    plan("demo")  # 03 is compared with 02
    plan("demo/03_train_smart_iqa", "baseline=''")
    with pytest.raises(FileNotFoundError, match="02_train_baseline.yaml: start_from: there is no"):
        plan("demo/02_train_baseline", "start_from=nowhere/03_train_smart_iqa")
    wanted = "baseline: .*, nor is one made before; did you mean 'try/02_train_baseline'.* There"
    with pytest.raises(FileNotFoundError, match=wanted):
        plan("demo", "baseline=try/02_train_base", "experiment=try")


def test_tables_and_splits_that_are_read_are_there_or_made_before(project):
    first = 'data_set: str = "own"  # x\nschemes: list[str] = ["random80-0"]  # x\n'
    project.notebook("01_prepare", first)
    second = 'data_set: str = "own"  # x\nsplit: str = "own-random80-0"  # x\n'
    project.notebook("02_train", second + "monitor: list[str] = []  # x\n")

    def check(target):
        jobs = []
        for file in planning.parameter_files(target, root=project.root):
            values = planning.read_parameters(file)
            notebook = project.root / f"notebooks/{file.stem.partition('--')[0]}.ipynb"
            jobs.append(planning.Job(file, "tiny", file.stem, notebook, values))
        planning.check_data(jobs, root=project.root)

    project.parameters("tiny/01_prepare", "")
    project.parameters("tiny/02_train", "")
    check("tiny")
    with pytest.raises(FileNotFoundError, match=r"data/tables/own.csv is not there; make it first"):
        check("tiny/02_train")
    project.parameters("tiny/02_train", "split: own-random80-5\n")
    with pytest.raises(FileNotFoundError, match=r"own-random80-5.csv .* before this: random80-0"):
        check("tiny")
    for name in ("tables/own", "splits/own-random80-5"):
        file = project.root / f"data/{name}.csv"
        file.parent.mkdir(parents=True)
        file.write_text("image\n")
    check("tiny/02_train")
    project.parameters("tiny/02_train", "split: own-random80-5\nmonitor: ['own:random80-1']\n")
    check("tiny/02_train")
    project.parameters("tiny/02_train", "split: own-random80-5\nmonitor: ['else:random80-1']\n")
    with pytest.raises(FileNotFoundError, match=r"data/tables/else.csv is not there; make it fir"):
        check("tiny/02_train")


def test_more_processes_than_there_can_be_are_refused_at_once(project, monkeypatch):
    monkeypatch.setattr(sweep, "cores", lambda: 2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    project.notebook("02_train", "processes: int = 1  # x\n")
    file = project.parameters("tiny/02_train", "")
    notebook = project.root / "notebooks/02_train.ipynb"
    job = planning.Job(file, "tiny", "02_train", notebook, {"processes": 8})
    with pytest.raises(ValueError, match="processes is 8; 1 to 2 are allowed here"):
        planning.check_what_is_read([job], root=project.root)


def test_a_run_of_a_variant_and_a_run_that_is_there(project):
    cell = 'experiment: str = "lab"  # x\nrun: str = ""  # x\ntrained: str = ""  # x\n'
    project.notebook("04_many", cell)
    project.notebook("05_look", cell)
    project.parameters("tiny/04_many", "")
    project.parameters("tiny/05_look", "trained: tiny/04_many/full-seed0\n")
    planning.check_runs(planning.plan("tiny", root=project.root), root=project.root)
    alone = planning.plan("tiny/05_look", root=project.root)
    with pytest.raises(FileNotFoundError, match="trained: there is no run.* There are none yet"):
        planning.check_runs(alone, root=project.root)
    folder = project.root / "data/runs/tiny/04_many/full-seed0"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text("{}")
    planning.check_runs(alone, root=project.root)


COMMAND = """\
import sys
from iqa_core.apps.commands import main
sys.argv = ["iqa_core", "run", "demo/02_train_baseline", "--set", "model=resnet"]
try:
    main()
finally:
    print(sorted({"torch", "timm", "torchvision"} & set(sys.modules)))
"""


def test_the_command_refuses_within_seconds_and_without_torch():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2, done.stderr
    assert "model: there is no 'resnet'. There are ckdn, hyperiqa" in done.stderr
    assert done.stdout.strip() == "[]"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


# ---- what is told of models without building them


@pytest.mark.parametrize("name", list_models())
def test_types_of_arguments_can_be_read_and_fit_what_models_are_built_with(name):
    module = import_module(f"iqa_core.models.{name}")
    types = arguments_of(name)
    assert {argument: default for argument, (_, default) in types.items()} == {
        argument: list(default) if isinstance(default, list) else default
        for argument, default in zip(types, module.build.__defaults__ or (), strict=False)
    } | (module.build.__kwdefaults__ or {})
    built = [*module.TEST_KWARGS, *module.VARIANTS.values(), *module.TEST_SWITCHES.values()]
    for arguments in [{name: default for name, (_, default) in types.items()}, *built]:
        check(TRAIN, model=name, arguments=arguments)


@pytest.mark.parametrize("name", list_models())
def test_which_models_learn_on_frozen_crops(name):
    module = import_module(f"iqa_core.models.{name}")
    wanted = wanted_for_frozen_crops(name)
    for arguments in module.TEST_KWARGS:
        model = create_model(name, **arguments, pretrained=False)
        learns = wanted is not None
        for key, needed in (wanted or {}).items():
            given = arguments.get(key, arguments_of(name)[key][1])
            learns &= given in (needed if isinstance(needed, list) else [needed])
        assert (getattr(model, "frozen_trunk", None) is not None) is learns


of_this_timm = pytest.mark.skipif(
    timm.__version__ != "1.0.31", reason="backbones.txt lists the networks of timm 1.0.31"
)


@of_this_timm
def test_all_networks_and_weights_of_timm_are_listed():
    tags = {name: set() for name in timm.list_models()}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags[name] |= {tag} - {""}
    listed = {name: set(known) for name, (_, known) in backbones().items()}
    assert listed == tags, "write the list anew: python scripts/make_backbones.py"
    transformers = {name for name, (kind, _) in backbones().items() if kind == "transformer"}
    families = ("vision_transformer", "deit")
    assert transformers == {name for name in tags if is_model_in_modules(name, families)}


def takes(name):
    """Whether `Pyramid` takes a network of timm."""
    try:
        with torch.device("meta"):
            Pyramid(name, pretrained=False)
    except Exception:
        return False
    return True


EVERY = sorted(name for name, (kind, _) in backbones().items() if kind != "transformer")


@of_this_timm
@pytest.mark.parametrize(
    "names", [EVERY[::120], pytest.param(EVERY, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_what_is_listed_as_a_pyramid_is_one(names):
    wrong = [name for name in names if takes(name) != (backbones()[name][0] == "pyramid")]
    assert not wrong, "write the list anew: python scripts/make_backbones.py"
