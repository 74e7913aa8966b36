"""What a run says: on the terminal, in metrics.jsonl, in TensorBoard's format, in pictures."""

from jaxseg.report.figures import class_colors as class_colors
from jaxseg.report.figures import overlay as overlay
from jaxseg.report.figures import write_progress as write_progress
from jaxseg.report.figures import write_samples as write_samples
from jaxseg.report.log import Report as Report
from jaxseg.report.pace import Pace as Pace
from jaxseg.report.records import environment as environment
from jaxseg.report.records import read_metrics as read_metrics
from jaxseg.report.scores import print_scores as print_scores
from jaxseg.report.scores import score_line as score_line
from jaxseg.report.scores import score_table as score_table

__all__ = [
    "Pace",
    "Report",
    "class_colors",
    "environment",
    "overlay",
    "print_scores",
    "read_metrics",
    "score_line",
    "score_table",
    "write_progress",
    "write_samples",
]
