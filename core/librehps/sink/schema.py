"""The columns of an output file."""

from librehps.types import AXES

TEXT, REAL, INTEGER, INTEGERS = "text", "real", "integer", "integers"
COLUMNS: dict[str, str] = {
    "id": TEXT,
    "media": TEXT,
    "kind": TEXT,
    "prompt": TEXT,
    "group": TEXT,
    **dict.fromkeys(AXES, REAL),
    **{f"{axis}_mu": REAL for axis in AXES},
    "width": INTEGER,
    "height": INTEGER,
    "frames": INTEGERS,
    "status": TEXT,
    "error_type": TEXT,
    "error": TEXT,
    "settings": TEXT,
}
# What statistics on the scores need beside them.
FULL: dict[str, str] = {
    **COLUMNS,
    **{f"{axis}_sigma": REAL for axis in AXES},
    "scalar": REAL,
    "prompt_tokens": INTEGER,
}
