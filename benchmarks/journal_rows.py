"""The number of rows in the journal of a run that goes on in another process."""

import json
from pathlib import Path

from librehps.runs.frames import whole_frames
from librehps.runs.row_groups import group_table
from librehps.runs.row_store import GROUPS_FILE, NEWEST_FILE, newest_batch
from librehps.scores.row_batch import INDEX, RowSchema
from librehps.settings import Settings


def rows_on_disk(journal: Path) -> int:
    """Return the number of rows; rows that were scored again count each time."""
    try:
        run = json.loads((journal / "run.json").read_text())
        groups, newest = (journal / name for name in (GROUPS_FILE, NEWEST_FILE))
        groups_data, newest_data = groups.read_bytes(), newest.read_bytes()
    except FileNotFoundError:
        return 0
    schema = RowSchema(Settings.from_record(run["settings"]), run["own_columns"])
    whole = (group_table(part, [INDEX]) for part in whole_frames(groups_data))
    batches = (newest_batch(part, schema) for part in whole_frames(newest_data))
    return sum(part.num_rows for part in (*whole, *batches))
