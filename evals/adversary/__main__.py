"""Attack the overlay, with every defence and without it: `python -m evals.adversary [--only NAME] [--output json|document]`.

Exit code 1 when a defence fails, or when an attack fails even without it: then the test of that defence tests nothing.
"""

import argparse
import json
import sys
from dataclasses import asdict

from evals.adversary.catalogue import ATTACKS
from evals.adversary.document import Tried, document
from evals.report import commit


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.adversary", description="Attack the overlay.")
    parser.add_argument("--only", default="", help="attacks whose name contains this")
    parser.add_argument("--output", choices=("table", "json", "document"), default="table")
    options = parser.parse_args()
    tried = []
    for attack in ATTACKS:
        if options.only not in attack.name:
            continue
        each = Tried(attack, attack.run(True), attack.run(False))
        tried.append(each)
        if options.output == "table":
            verdict = "holds" if each.holds else "FAILS"
            print(f"{attack.name:24} {verdict:6} with: {each.defended.says}\n{'':24} {'':6} without: {each.undefended.says}")
    if options.output == "json":
        rows = [{"attack": t.attack.name, "with": asdict(t.defended), "without": asdict(t.undefended)} for t in tried]
        print(json.dumps({"name": "adversary", "commit": commit(), "attacks": rows}, indent=2))
    if options.output == "document":
        print(document(tried), end="")
    return 0 if all(each.holds for each in tried) else 1


if __name__ == "__main__":
    sys.exit(main())
