#!/usr/bin/env python3
"""Holds the floors: a directory of src/ includes only from floors below it (docs/architecture.md).

Also: a test stands beside the file it tests, no file is longer than 1,000 lines, and headers say
`#pragma once`. Prints the offending lines; exit status 1 if there are any.
"""
import pathlib
import re
import sys

FLOORS = {
    "base": 0, "platform": 1, "encoding": 2, "kernels": 3, "codec": 3, "format": 4, "store": 5, "text": 5,
    "model": 6, "plan": 7, "hub": 7, "engine": 8, "compress": 9, "packs": 9, "forge": 9, "server": 10,
    "cli": 11,
}
MAX_LINES = 1000
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def check(root):
    src = root / "src"
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        name = path.relative_to(src)
        floor = name.parts[0]
        if floor not in FLOORS:
            yield f"src/{name}: {floor}/ is not a floor of tools/check_layers.py"
            continue
        lines = path.read_text().splitlines()
        if len(lines) > MAX_LINES:
            yield f"src/{name}: {len(lines)} lines; split it"
        if path.suffix == ".h" and not path.name.endswith(".inl.h") and "#pragma once" not in lines:
            yield f"src/{name}: no #pragma once"
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match[1].split("/")[0]
            if target == floor or target not in FLOORS:
                continue  # its own directory, sluice/ or tests/
            if FLOORS[target] >= FLOORS[floor]:
                yield (f"src/{name}:{number}: {floor}/ (floor {FLOORS[floor]}) includes {target}/ "
                       f"(floor {FLOORS[target]})")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    problems = list(check(root))
    print("\n".join(problems) if problems else "floors: every include goes down")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
