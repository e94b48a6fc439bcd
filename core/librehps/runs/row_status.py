"""The status of an item's row in a journal."""

NEW, OK, ERROR = 0, 1, 2
