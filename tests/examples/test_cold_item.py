"""The example of a new item that reaches lists."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cold_item.py"


def test_new_items_reach_lists_of_users_who_buy_their_brand(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, EXAMPLE, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    figures = re.findall(r"(own|map): new items fill (\d+) of 8,000 places, (\d+) with users", ended.stdout)
    (_, of_own, _), (_, of_map, same) = figures
    assert of_own == "0"
    assert abs(int(of_map) - 160) <= 1  # list_share is .02
    assert int(same) > 0.9 * int(of_map)  # by chance one of eight
