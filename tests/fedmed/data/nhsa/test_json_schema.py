"""The JSON Schema says what the schema says."""

from __future__ import annotations

import json

from fedmed.data.nhsa.json_schema import json_schema
from fedmed.data.nhsa.schema import schema


def test_every_table_column_and_code_list_is_described() -> None:
    document = json.loads(json.dumps(json_schema(schema())))
    definitions = document["$defs"]
    for table in schema().tables:
        row = definitions[table.name]
        assert list(row["properties"]) == [column.name for column in table.columns]
        assert row["required"] == [column.name for column in table.columns if column.required]
        assert row["x-key"] == list(table.key)
    for name, codes in schema().code_lists.items():
        listed = [entry["const"] for entry in definitions[f"codes.{name}"]["anyOf"][0]["oneOf"]]
        assert listed == list(codes.codes)


def test_types_bounds_grades_and_references_are_there() -> None:
    setl = json_schema(schema())["$defs"]["setl"]["properties"]
    assert setl["refd_setl_flag"]["allOf"] == [{"$ref": "#/$defs/codes.yes_no"}]
    assert setl["fixmedins_code"]["x-refers"] == "medins.fixmedins_code"
    assert setl["act_ipt_days"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 3660}
    assert (setl["psn_no"]["maxLength"], setl["psn_no"]["x-grade"]) == (30, "restricted")
    assert (setl["medfee_sumamt"]["x-digits"], setl["medfee_sumamt"]["x-unit"]) == ([16, 2], "yuan")


def test_rows_with_direct_identifiers_fit_no_table() -> None:
    for table in schema().names:
        row = json_schema(schema())["$defs"][table]
        assert row["not"]["anyOf"] == [{"required": ["psn_name"]}, {"required": ["certno"]}]
