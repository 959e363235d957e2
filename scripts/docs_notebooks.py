"""Shows notebooks without what their template would fetch; mkdocs calls this for each page."""

from __future__ import annotations

import re
from typing import Any

# MathJax by its address, and the module that imports mermaid by one.
_SCRIPT_FROM_ELSEWHERE = re.compile(
    r"<script(?=[^>]*\bsrc=\"https?:)[^>]*>.*?</script>"
    r"|<script type=\"module\">(?:(?!</script>).)*?https?://(?:(?!</script>).)*?</script>",
    re.S,
)


def on_page_content(html: str, page: Any, **_others: Any) -> str:
    """Gives the page with nothing fetched from elsewhere.

    Args:
        html: The page as the plugins made it.
        page: Where it comes from.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return _SCRIPT_FROM_ELSEWHERE.sub("", html)
