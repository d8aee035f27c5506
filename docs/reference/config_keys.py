"""Write the tables of config.md from the config's own model.

python docs/reference/config_keys.py
"""

from __future__ import annotations

from pathlib import Path

from pipeline.config.model import key_reference
from pipeline.embedding.methods import CONFIG

PAGE = Path(__file__).with_name("config.md")
PIPE = "\\|"  # a bare one would end the cell
BEGIN, END = "<!-- keys of {} -->\n", "<!-- end -->\n"


def key_table(keys: list[tuple[str, str, str, str]]) -> str:
    """Return the Markdown table of one section's keys."""
    rows = [f"| `{key}` | `{default}` | {about.replace('|', PIPE)} |" for _, key, default, about in keys]
    return "\n".join(["| Key | Default | Meaning |", "|---|---|---|", *rows, ""])


def render(page: str) -> str:
    """Return the page with every section's table made anew."""
    keys = key_reference(CONFIG)
    for section in dict.fromkeys(key[0] for key in keys):
        begin = BEGIN.format(section)
        head, rest = page.split(begin)
        table = key_table([key for key in keys if key[0] == section])
        page = head + begin + table + END + rest.split(END, 1)[1]
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
