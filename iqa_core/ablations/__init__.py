"""What notebook 04 plans (`jobs`) and does around its trainings (`predictions`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["jobs", "predictions"],
    submod_attrs={
        "jobs": ["Job", "figure_groups", "overview", "plan", "tests_only"],
        "predictions": [
            "leave_out",
            "left_out_parts",
            "predict_otherwise",
            "predict_sets",
            "predict_shuffled",
            "read_predictions",
            "read_transfers",
            "sets_and_runs",
            "shuffled",
        ],
    },
)
