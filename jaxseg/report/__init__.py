"""What a run says: on the terminal, in metrics.jsonl, in TensorBoard's format, in pictures."""

from jaxseg.report.batch import fetched as fetched
from jaxseg.report.batch import seen as seen
from jaxseg.report.batch import write_batch as write_batch
from jaxseg.report.curves import write_progress as write_progress
from jaxseg.report.figures import class_colors as class_colors
from jaxseg.report.figures import overlay as overlay
from jaxseg.report.log import Report as Report
from jaxseg.report.opening import aligned as aligned
from jaxseg.report.opening import clock as clock
from jaxseg.report.opening import compiled_lines as compiled_lines
from jaxseg.report.opening import opening_lines as opening_lines
from jaxseg.report.opening import say as say
from jaxseg.report.pace import Pace as Pace
from jaxseg.report.records import environment as environment
from jaxseg.report.records import read_metrics as read_metrics
from jaxseg.report.samples import write_samples as write_samples
from jaxseg.report.scores import print_scores as print_scores
from jaxseg.report.scores import score_line as score_line
from jaxseg.report.scores import score_table as score_table
from jaxseg.report.trackers import TRACKERS as TRACKERS
from jaxseg.report.trackers import Tracker as Tracker
from jaxseg.report.trackers import check_trackers as check_trackers
from jaxseg.report.trackers import open_trackers as open_trackers

__all__ = [
    "TRACKERS",
    "fetched",
    "seen",
    "Pace",
    "Report",
    "Tracker",
    "aligned",
    "check_trackers",
    "class_colors",
    "clock",
    "compiled_lines",
    "environment",
    "open_trackers",
    "opening_lines",
    "overlay",
    "print_scores",
    "read_metrics",
    "say",
    "score_line",
    "score_table",
    "write_batch",
    "write_progress",
    "write_samples",
]
