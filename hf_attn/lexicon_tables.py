"""A lexicon as data: JSON, CSV and a data frame."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lexicon import Entry, Lexicon
from .saving import written

if TYPE_CHECKING:
    import pandas as pd

_OF_ENTRY = [field.name for field in fields(Entry)]
_COLUMNS = ["target", "against", *_OF_ENTRY]


def lexicon_to_dict(lexicon: Lexicon) -> dict[str, Any]:
    """Gives the lists and how to read them, of what JSON can hold."""
    return {
        "unit": lexicon.unit,
        "problem_type": lexicon.problem_type,
        "notes": list(lexicon.notes),
        "top": lexicon.top,
        "min_count": lexicon.min_count,
        "classes": [asdict(one) for one in lexicon.lists],
    }


def lexicon_to_json(lexicon: Lexicon, path: str | Path | None = None) -> str:
    """Gives the dictionary as JSON, and writes it to `path`."""
    text = json.dumps(lexicon_to_dict(lexicon), ensure_ascii=False, indent=2)
    return written(text + "\n", path)


def lexicon_to_csv(lexicon: Lexicon, path: str | Path | None = None) -> str:
    """Gives a header and one line for each word of each list, and writes them to `path`."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(lexicon))
    return written(table.getvalue(), path)


def lexicon_to_dataframe(lexicon: Lexicon) -> pd.DataFrame:
    """Gives one row for each word of each list; counts that are not known are blank."""
    import pandas as pd

    return pd.DataFrame(_rows(lexicon), columns=_COLUMNS).astype({"count": "Int64"})


def _rows(lexicon: Lexicon) -> list[list[Any]]:
    return [
        [one.target, one.against, *(getattr(entry, name) for name in _OF_ENTRY)]
        for one in lexicon.lists
        for entry in one.entries
    ]
