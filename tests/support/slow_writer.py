"""Writes into a folder as a slow generator does; each line on stdin is a step, answered by a line.

    python tests/support/slow_writer.py FOLDER

write NAME SEED: the first half of a picture. end NAME: the rest. put NAME SEED: a whole picture,
renamed into place. say NAME TEXT: a prompt. drop NAME, move OLD NEW.
"""

import sys
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from make_media import picture


def encoded(seed: int) -> bytes:
    file = BytesIO()
    picture(64, 64, seed=seed).save(file, "PNG")
    return file.getvalue()


def main(folder: Path) -> None:
    begun: dict[str, tuple[BinaryIO, bytes]] = {}
    for line in sys.stdin:
        verb, name, *rest = line.split()
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        match verb:
            case "write":
                data = encoded(int(rest[0]))
                file = path.open("wb")
                file.write(data[: len(data) // 2])
                file.flush()
                begun[name] = file, data[len(data) // 2 :]
            case "end":
                file, data = begun.pop(name)
                for at in range(0, len(data), 1000):
                    file.write(data[at : at + 1000])
                    file.flush()
                file.close()
            case "put":
                (partial := path.with_name(f"{path.name}.part")).write_bytes(encoded(int(rest[0])))
                partial.rename(path)
            case "say":
                path.write_text(rest[0])
            case "drop":
                path.unlink()
            case "move":
                path.rename(folder / rest[0])
        print(line, end="", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
