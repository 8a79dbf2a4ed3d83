"""Pages made from code say what the code says."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["tables", "features"])
def test_a_page_is_what_the_code_says(page: str) -> None:
    script = ROOT / "scripts" / f"document_{page}.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert written == module.page(), f"run `python scripts/document_{page}.py`"
