#!/usr/bin/env python3
"""Prints JUnit's XML reports as interop/run reads them: lines.py FILE…; 1 if there is a failure, or nothing at all."""

import sys
from xml.etree import ElementTree


def main():
    cases = [case for path in sys.argv[1:] for case in ElementTree.parse(path).iter("testcase")]
    failed = not cases
    for case in cases:
        name = f"{case.get('classname', '').removeprefix('test.')}: {case.get('name')}".removeprefix(": ")
        wrong = next((case.find(kind) for kind in ("failure", "error", "skipped") if case.find(kind) is not None), None)
        if wrong is None:
            print(f"ok {name}")
            continue
        failed = True
        reason = (wrong.get("message") or wrong.text or wrong.tag).strip().splitlines() or [wrong.tag]
        print(f"not ok {name} - {reason[0]}")
        print(wrong.text or wrong.get("message"), file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
