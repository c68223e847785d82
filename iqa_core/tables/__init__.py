"""Numbers for tables, from predictions, labels and run files: no matplotlib, no torch.

`agreement`: every method on the same test images; `text`: the same for people; `variants`: what a
model's parts earn over several trainings; `references`: variants beside measures, questions and
answers; `transfer`: trained here, tested there; `images`: small tables of a set's images;
`machines`: what predicts how vision models suffer; `statement`: what a table's numbers are of;
`files`: runs read side by side, a table as CSV, LaTeX and Markdown; `comparison`: reported and
measured rows of one kind; `paper`: the paper's tables of them, which `printing` writes; `miqa`: the
tables of the MIQA paper."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "agreement",
        "cells",
        "comparison",
        "drawn",
        "files",
        "images",
        "machines",
        "miqa",
        "paper",
        "printing",
        "references",
        "statement",
        "text",
        "trainings",
        "transfer",
        "variants",
    ],
    submod_attrs={
        "agreement": ["differences", "headline", "over_splits", "results", "splits_headline"],
        "cells": ["NOT_CROSSED", "blind_rule", "crossed"],
        "comparison": ["measured", "named", "of_variants", "reported", "topics"],
        "drawn": ["compared", "variants_of"],
        "files": ["export", "export_stated", "files_of", "read_runs", "read_tests", "share_images"],
        "images": [
            "attention_analysis",
            "by_distortion",
            "by_label",
            "entropy_agreement",
            "label_name",
            "mean_stage_weights",
        ],
        "machines": [
            "apart",
            "by_machine",
            "for_machines",
            "machine_agreement",
            "machine_counts",
            "machine_differences",
            "machines_of",
            "readable_machine_differences",
            "readable_machines",
            "reject_curves",
            "thresholds",
        ],
        "miqa": ["identity", "measured_cells", "miqa_reported", "reported_and_measured"],
        "printing": ["printable", "write"],
        "references": [
            "answers",
            "beside_reported",
            "headline_of",
            "on_parts",
            "readable_parts",
            "reported_of",
            "with_measures",
        ],
        "statement": ["STATED", "shown", "stated"],
        "text": ["readable", "results_caption", "results_tex", "verdicts"],
        "transfer": ["blind_predictions", "on_left_out", "on_other_sets", "transfers"],
        "variants": ["ablations", "readable_ablations", "seed_differences", "shuffle_loss"],
    },
)
