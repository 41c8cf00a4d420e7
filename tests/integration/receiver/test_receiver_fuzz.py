"""Whatever is sent, the receiver answers as it says it does: schemathesis over HTTP from its own OpenAPI document.

Generated requests, valid and invalid ones; a fixed seed, so that a run can be repeated.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agent.receiver import openapi
from support.databases import sqlite_in
from support.invariants import check
from support.receiver import Served, served

DOCUMENT = json.loads(openapi.document("http://localhost/scim/v2"))
#: Broken HTTP (a blank or odd header) is answered below the receiver, in plain text.
BELOW = "Invalid HTTP request received."
OPERATIONS = [
    (method.upper(), path)
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if method in ("get", "post", "put", "patch", "delete")
]
EXAMPLES = 12


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = Path(tmp_path_factory.mktemp("fuzz"))
    with served(sqlite_in(folder), guard={"push_mode": "alarm"}) as running:
        yield running


def test_the_document_is_served_to_those_with_a_key(receiver: Served) -> None:
    assert receiver.stranger.get("/openapi.json").status_code == 401
    answer = receiver.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["paths"] == DOCUMENT["paths"]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_generated_is_answered_as_documented(
    receiver: Served, method: str, path: str, mode: GenerationMode
) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    made = receiver.create(f"{method}{OPERATIONS.index((method, path))}{mode.value}@example.com")

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers(case: Any) -> None:
        if "id" in case.path_parameters and len(str(case.path_parameters["id"])) % 2:
            case.path_parameters["id"] = made["id"]
        answered(receiver, case)

    answers()


def answered(receiver: Served, case: Any) -> None:
    response = case.call(base_url=receiver.url, headers={"Authorization": f"Bearer {receiver.key}"})
    if response.status_code == 400 and BELOW in response.text:
        return
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    if response.status_code == 501:
        checks = checks[1:]  # as documented
    case.validate_response(response, checks=checks)


def test_after_all_that_the_directory_is_whole(receiver: Served) -> None:
    assert receiver.client.get("/Users?count=1").status_code == 200
    check(receiver.store)
