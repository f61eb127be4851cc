"""Several checkpoints -> one folder that is a detector: an ensemble of different backbones, tokenizers and segments.

    mvh ensemble CKPT1 CKPT2 ... --out FOLDER [--combine mean_p] [--name NAME]
    mvh calibrate --model FOLDER --human MY_TEXTS --out CALIBRATED

Members are folders or Hub names and must agree on the labels. `--combine` names what is made of their words: "mean_score"
(default) averages their margins on a common scale, "mean_margin" averages them as they are; both want a calibration of
the ensemble as a whole. The others merge the members' own p-values (`merging_mvh`) and need none beside theirs.
docs/ensembles.md says which to choose; the folder's layout stands in `ensemble_mvh`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvh.calibration_mvh import decode_calibration
from mvh.card import read_figures, write_card
from mvh.corrections_mvh import known
from mvh.ensemble_mvh import COMBINATIONS, SCORE_COMBINATIONS, MvhEnsembleConfig, MvhEnsembleForSequenceClassification
from mvh.export import clean_json, refuse_foreign
from mvh.members_mvh import TOKENIZERS
from mvh.opening import local_folder, name_and_revision, open_folder, read_config
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.placing import unfinished_folder
from mvh.readings_mvh import human_scale
from mvh.references_mvh import Calibration
from mvh.seen import USES, read_seen, write_hashes
from mvh.storing import cast, stored_dtype
from mvh.usage import documented

logger = logging.getLogger("mvh.ensemble")

LEFT_OUT = ("auto_map", "custom_pipelines", "architectures", "transformers_version", "_name_or_path")  # of a member
JUDGING = ("alpha", "correction", "vote", "p_values")  # the first member's, as the segments are


def make_ensemble(
    checkpoints: Sequence[str | Path], out: Path, combine: str = "mean_score", name: str | None = None
) -> Path:
    """Write an ensemble folder; a checkpoint of that name is replaced, and never left half written.

    Args:
        checkpoints: Folders or Hub names of single detectors, or NAME@REVISION of the Hub; the first gives the segments and
            settings.
        out: Folder to write.
        combine: See the module's docstring.
        name: What results call it; the folder's name by default.

    Returns:
        `out`.

    Raises:
        ValueError: If there is no member, one is missing, damaged or itself an ensemble, members disagree on the labels,
            or `out` holds something else than a checkpoint.
    """
    known("combine", combine, COMBINATIONS)
    if not checkpoints:
        raise ValueError("An ensemble needs at least one checkpoint, and none is named.")
    folders = [local_folder(*name_and_revision(str(checkpoint))) for checkpoint in checkpoints]
    refuse_foreign(out)
    if out.resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"{out} is a member of the ensemble and cannot be replaced by it; name another folder.")
    configs = member_configs(folders)
    calibrations = [_calibration(config) for config in configs]
    judging = {key: configs[0][key] for key in JUDGING if configs[0].get(key) is not None}
    if combine not in SCORE_COMBINATIONS and judging.get("correction") == "calibrated":
        logger.warning("correction='calibrated' needs one calibration of the whole; this ensemble gets 'bh'.")
        judging["correction"] = "bh"
    scales = None if combine == "mean_margin" else common_scales(calibrations)
    config = MvhEnsembleConfig(configs, combine, scales, name=name or out.name, **judging)  # refuses differing labels

    members, tokenizers = zip(*map(open_folder, folders), strict=True)
    for member, own in zip(members, configs, strict=True):
        member.config.calibration = own["calibration"]  # None where it was dropped
    model = MvhEnsembleForSequenceClassification.from_members(config, members, tokenizers[1:])
    detect = MvhDetectPipeline(model=model, tokenizer=tokenizers[0], device="cpu")
    for member, folder in zip(members, folders, strict=True):
        cast(member, stored_dtype(folder))  # an ensemble takes no more room than its members

    with unfinished_folder(out, refuse_foreign) as part:
        detect.save_pretrained(str(part))
        clean_json(part / "config.json", fields={"dtype": "float32"})
        for file in [part / "tokenizer_config.json", *part.glob(f"{TOKENIZERS}/*/tokenizer_config.json")]:
            clean_json(file)
        for use in USES:
            hashes = [seen for folder in folders if (seen := read_seen(folder, use)) is not None]
            if 0 < len(hashes) < len(folders):
                logger.warning(f"Only {len(hashes)} of {len(folders)} members say which texts served their {use}.")
            if hashes:
                write_hashes(part, np.concatenate(hashes), use, all_known=len(hashes) == len(folders))
        write_card(part, card_figures(folders, configs, combine))
    return out


def member_configs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The members' configs with names that tell them apart.

    Raises:
        ValueError: If a folder holds no single detector.
    """
    configs, names = [], Counter[str]()
    for folder in folders:
        config = read_config(folder)
        if config["model_type"] != "mvh":
            members = [member["name"] for member in config["members"]]
            raise ValueError(f"{folder} is itself an ensemble, of {', '.join(members)}; name its members instead.")
        names[config["name"]] += 1
        if names[config["name"]] > 1:
            config["name"] += f"#{names[config['name']]}"
        configs.append({key: value for key, value in config.items() if key not in LEFT_OUT})
    return configs


def common_scales(calibrations: Sequence[Calibration | None]) -> list[list[float]] | None:
    """(mean, standard deviation) of each member's human segment margins, None unless all members are calibrated."""
    references = [list(own.segment.values()) for own in calibrations if own is not None]
    if len(references) < len(calibrations):
        return None
    return [
        human_scale(np.concatenate([part.scores for part in parts]), np.concatenate([part.weights for part in parts]))
        for parts in references
    ]


def card_figures(folders: Sequence[Path], configs: Sequence[dict[str, Any]], combine: str) -> dict[str, Any]:
    """What the model card says of an ensemble: its members, and the licence and language they share."""
    listed = [f"`{config['name']}` ({config['backbone_config']['model_type']})" for config in configs]
    figures = [read_figures(folder) for folder in folders]
    shared = {
        key: figures[0][key]
        for key in ("license", "language")
        if key in figures[0] and all(other.get(key) == figures[0][key] for other in figures)
    }
    words = f"An ensemble of {len(listed)} detectors, combined by `{combine}`: {', '.join(listed)}."
    return {"training": words, **shared}


def _calibration(config: dict[str, Any]) -> Calibration | None:
    """A member's calibration; one that cannot be read is dropped from its config."""
    if config.get("calibration"):
        try:
            return decode_calibration(config["calibration"])
        except ValueError as error:
            logger.warning(f"The calibration of {config['name']} is dropped unread. {error}")
    config["calibration"] = None
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring. Exit status 0, or 1 with a sentence where no ensemble can be made."""
    parser = documented("mvh ensemble", __doc__)
    parser.add_argument("checkpoints", nargs="+", metavar="CKPT", help="checkpoint folder, Hub name or NAME@REVISION")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--combine", choices=COMBINATIONS, default="mean_score", help="default: mean_score")
    parser.add_argument("--name", help="what results call it (default: the folder's name)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        out = make_ensemble(args.checkpoints, args.out, args.combine, args.name)
    except (ValueError, OSError) as error:
        logger.error("error: %s", error)
        return 1
    members = json.loads((out / "config.json").read_text(encoding="utf-8"))["members"]
    logger.info("%s: %d members, %s.", out, len(members), ", ".join(member["name"] for member in members))
    if args.combine in SCORE_COMBINATIONS:
        logger.info("Its combined scores have no calibration yet: python -m mvh.calibrate --model %s ...", out)
    elif uncalibrated := [member["name"] for member in members if not member["calibration"]]:
        logger.info("Without a calibration: %s; python -m mvh.calibrate --model %s ...", ", ".join(uncalibrated), out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
