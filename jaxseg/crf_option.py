"""``--crf`` of the commands that predict: a dense CRF over what a run's network says."""

import argparse

from jaxseg.crf import DenseCRF
from jaxseg.errors import UserError
from jaxseg.experiment import Evaluation
from jaxseg.overrides import overridden


def add_crf(parser: argparse.ArgumentParser) -> None:
    """Add ``--crf``."""
    parser.add_argument(
        "--crf",
        nargs="?",
        const="DenseCRF()",
        metavar="DenseCRF(...)",
        help="a dense CRF over the probabilities of 2-D images, with the parameters of DeepLab v2 "
        "or as typed, such as 'DenseCRF(far=50.0, colour=10.0)'",
    )


def crf_of(typed: str | None) -> DenseCRF | None:
    """The CRF that was typed; None where none was."""
    if typed is None:
        return None
    try:
        return overridden(Evaluation(), [f"crf={typed}"]).crf
    except UserError as error:
        raise UserError(f"--crf {typed}: {error}") from error
