"""Write docs/tables.md from the schemas: `python scripts/document_tables.py`."""

from pathlib import Path

from flickcast.schemas import TABLES, VECTOR, Column, Table

TARGET = Path(__file__).parents[1] / "docs" / "tables.md"


def page() -> str:
    """The whole page, one section per table."""
    head = "# Tables\n\nWritten by `scripts/document_tables.py` from `src/flickcast/schemas.py`. All times are UTC.\n"
    return head + "".join(section(table) for table in TABLES.values())


def section(table: Table) -> str:
    """One table: what it is, its key, its columns."""
    rows = "".join(
        f"| `{name}` | {kind(column)} | {'' if column.nullable else 'always'} | {column.meaning} |\n"
        for name, column in table.columns.items()
    )
    key = ", ".join(f"`{name}`" for name in table.key)
    return (
        f"\n## {table.name}\n\n{table.meaning} Key: {key}. Written by `{table.owner}`.\n\n"
        f"| column | type | there | meaning |\n| --- | --- | --- | --- |\n{rows}"
    )


def kind(column: Column) -> str:
    """A column's type; of vectors only that they are all of one length."""
    return "Array(Float16, of one length)" if column.dtype == VECTOR else str(column.dtype)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
