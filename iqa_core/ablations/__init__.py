"""What notebooks of ablations plan (`jobs`) and do around their trainings: 04 (`predictions`), 06
(`aspects`), 07 (`references`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["aspects", "jobs", "predictions", "references"],
    submod_attrs={
        "aspects": [
            "aspect_curves",
            "aspect_sensitivity",
            "attended",
            "features_of",
            "linear_probe",
            "padding_check",
            "whole_pictures",
        ],
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
        "references": [
            "averaged",
            "input_quality",
            "parts_by_type",
            "reference_checks",
            "untrained",
            "without_types",
            "worst_inputs",
        ],
    },
)
