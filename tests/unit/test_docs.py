"""Pages made from code say what the code says."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_tables_is_what_the_schemas_say() -> None:
    spec = importlib.util.spec_from_file_location("document_tables", ROOT / "scripts" / "document_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == module.page(), (
        "run `python scripts/document_tables.py`"
    )
