"""What a detector's scores depend on, and whether a calibration was made for just that.

An identity is the normaliser's version, how texts are read (cut into segments and tokens), the hash of the weights and the
number type. p-values hold for the identity that the calibration was made with: with other weights, another normaliser or read
in another way every verdict has a doubt, in another number type a warning. Older calibrations do not say how texts were read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .merging_mvh import MERGERS
from .normalization_mvh import NORMALIZER_VERSION

AGREEMENT = 0.995  # least share of documents with the same label in bfloat16 and float32


def keeps_verdicts(calibration: Mapping[str, Any] | None) -> bool:
    """Whether a packed calibration carries a record that at least AGREEMENT of the verdicts stay in bfloat16."""
    parity = (calibration or {}).get("parity")
    agreement = parity.get("same_label") if isinstance(parity, Mapping) else None
    return isinstance(agreement, (int, float)) and AGREEMENT <= agreement <= 1.0


def identity(fingerprint: str, dtype: str, reading: str) -> dict[str, str]:
    """What scores depend on; a calibration is valid for one identity.

    Args:
        fingerprint: Hash of the weights.
        dtype: Number type.
        reading: Hash of how texts become inputs, see `members_mvh.reading_of`.
    """
    return {"normalizer": NORMALIZER_VERSION, "reading": reading, "weights": fingerprint, "dtype": dtype}


def merges(config: Any) -> bool:
    """Whether the detector of this config merges its members' p-values, so that their calibrations count."""
    return getattr(config, "combine", None) in MERGERS


def calibration_id(config: Any) -> str | None:
    """Identity of what the p-values rest on: the calibration's, or where p-values are merged all members'."""
    packed = [member.get("calibration") for member in config.members] if merges(config) else [config.calibration]
    ids = [part["id"] for part in packed if part]
    return "+".join(dict.fromkeys(ids)) if len(ids) == len(packed) else None


def fits(packed: Mapping[str, Any], at_work: Mapping[str, str]) -> bool:
    """Whether a packed calibration was made with the identity at work."""
    return all(packed["about"].get(key, value) == value for key, value in at_work.items())


def stale(config: Any, members: Sequence[Any], at_work: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Where a calibration is not that of the detector at work, and what was said when it was made.

    Args:
        config: The detector's.
        members: Its members, see `members_mvh.Member`.
        at_work: The detector's identity.

    Returns:
        Doubts: it was made with another normaliser or other weights, or texts are read in another way; and warnings: it was
        made in another number type, which moves scores in their third digit, or was doubted.
    """
    pairs = [(config.calibration, at_work)]
    if merges(config):
        pairs = [
            (member.config.calibration, identity(member.fingerprint, at_work["dtype"], member.reading))
            for member in members
        ]
    doubts: list[str] = []
    warnings: list[str] = []
    for packed, own in [(packed, own) for packed, own in pairs if packed is not None]:
        about = packed["about"]
        if own["dtype"] == "bfloat16" and keeps_verdicts(packed):
            own = {key: value for key, value in own.items() if key != "dtype"}
        if "doubt" in about:
            warnings.append(f"When the detector was calibrated it was said: {about['doubt']}")
        for key, value in own.items():
            if about.get(key, value) != value:
                (warnings if key == "dtype" else doubts).append(
                    f"The calibration was made with {key} {about[key]!r} and the detector has {value!r}: its p-values may be "
                    "off; calibrate again."
                )
    return list(dict.fromkeys(doubts)), list(dict.fromkeys(warnings))
