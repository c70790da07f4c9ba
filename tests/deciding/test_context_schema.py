"""The context schema: learned from calls, confirmed by a person, and shared by programs, segments, privacy and checks."""

from typing import Any

from tests.page_client import Browser
from tests.service import Client, definition
from tests.wizard.drafting import Draft, fields

CONTEXTS = [
    {"plan": "pro" if n % 2 else "free", "visits": 11, "new": n % 3 == 0, "cart": {"total": n}} for n in range(12)
]
SCHEMA = [
    {"name": "plan", "type": "text", "example": "pro"},
    {"name": "visits", "type": "number", "example": 3},
]


def seen(client: Client, key: str) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in client.get(f"/v1/experiments/{key}/context").body["fields"]}


def call(client: Client, key: str, contexts: list[dict[str, Any]]) -> None:
    client.decide_many(key, [{"unit_id": f"u{n}", "context": context} for n, context in enumerate(contexts)])


def test_fields_are_found_in_the_newest_calls(client: Client) -> None:
    client.make("found-fields")
    assert client.get("/v1/experiments/found-fields/context").body == {"decisions": 0, "fields": []}
    call(client, "found-fields", [*CONTEXTS, {"rare": "secret of one person"}])
    fields = seen(client, "found-fields")
    assert {name: field["type"] for name, field in fields.items()} == {
        "plan": "text",
        "visits": "number",
        "new": "yes_no",
        "cart": "other",
        "rare": "text",
    }
    assert fields["visits"]["example"] == 11 and fields["plan"]["example"] in ("pro", "free")
    assert fields["rare"]["example"] == "..."  # a value of one person is never kept as an example
    assert abs(fields["plan"]["share"] - 12 / 13) < 1e-9


def test_a_schema_is_compared_with_the_calls(client: Client) -> None:
    client.make("compared", context_schema=[*SCHEMA, {"name": "gone", "type": "yes_no"}])
    call(client, "compared", [{"plan": 3, "visits": 1, "other": "x"}])
    states = {name: field["state"] for name, field in seen(client, "compared").items()}
    assert states == {"plan": "other_type", "visits": "confirmed", "other": "new", "gone": "not_seen"}


def test_what_names_a_field_names_one_of_the_schema(client: Client) -> None:
    wrong = definition(
        "checked-names",
        context_schema=[*SCHEMA, {"name": "plan", "type": "number", "example": "pro"}],
        segments=["plan", "land"],
        context_fields=[{"name": "street", "hashed": True}],
        metrics=[
            {
                "key": "m",
                "source": {"type": "value", "metric": "m"},
                "covariate": {"type": "context", "field": "spent"},
            }
        ],
    )
    answer = client.post("/v1/experiments", wrong)
    assert answer.status == 422
    assert {(error["path"], error["code"]) for error in answer.body["errors"]} == {
        ("/context_schema/2/name", "name_taken"),
        ("/context_schema/2/example", "example_of_other_type"),
        ("/segments/1", "not_in_context_schema"),
        ("/context_fields/0/name", "not_in_context_schema"),
        ("/metrics/0/covariate/field", "not_in_context_schema"),
    }


def test_a_person_confirms_what_was_found_and_programs_use_it(client: Client, editor: Browser) -> None:
    client.make("confirmed")
    call(client, "confirmed", CONTEXTS)
    page = editor.get("/admin/experiments/confirmed/integration")
    assert "Confirm the new fields" in page.text
    page = editor.post("/admin/experiments/confirmed/context-schema")
    draft = Draft(editor, page.address)
    typed = fields(page)
    rows = [typed[f"/context_schema/{index}/name"] for index in range(4)]
    assert sorted(rows) == [["cart"], ["new"], ["plan"], ["visits"]]
    place = rows.index(["visits"])
    page = draft.save("people", {f"/context_schema/{place}/example": "7"})
    assert 'name="/context_fields:names:of"' in page.html
    draft.save("metrics", {"/segments:of": ["plan"]})
    page = draft.save("review", do="publish")
    assert page.address == "/admin/experiments/confirmed/", page.text[:3000]
    made = client.get("/v1/experiments/confirmed").body
    assert made["segments"] == ["plan"]
    assert {"name": "visits", "type": "number", "example": 7} in made["context_schema"]
    page = editor.get("/admin/experiments/confirmed/integration")
    assert "Confirm the new fields" not in page.text and '"visits": 7' in page.text.replace("'", '"')
    reopened = editor.post("/admin/experiments/confirmed/edit")
    assert fields(Draft(editor, reopened.address).show("metrics"))["/segments:of"] == ["plan"]
